//! A small client of a fictitious weather service, as a downstream project may have it.
//!
//! It has what such clients have: a base URL, a time limit, and a second try when the service is
//! busy and says when to come back. It does not know which backend it runs on, and so its tests
//! run in virtual time.

#![forbid(unsafe_code)]

use std::{fmt, sync::Arc, time::Duration};

use http::{StatusCode, header::RETRY_AFTER};
use httpcore::{
    Body, ConnectionPool, Error, Response, Timeouts,
    backend::{NetworkBackend, Runtime},
};

/// How often the service is asked before it is given up as busy.
const ATTEMPTS: u32 = 3;

/// Asks a weather service.
#[derive(Debug)]
pub struct Weather {
    pool: ConnectionPool,
    runtime: Arc<dyn Runtime>,
    base: String,
}

/// What may go wrong.
#[derive(Debug)]
pub enum WeatherError {
    /// The request failed.
    Http(Error),
    /// The service answered with this status.
    Refused(StatusCode),
    /// The service was busy each time.
    Busy,
    /// The service answered with something that is no temperature.
    Nonsense,
}

impl Weather {
    /// A client of the service at `base`, such as `http://weather.example`.
    pub fn new(backend: Arc<dyn NetworkBackend>, base: impl Into<String>) -> Self {
        let timeouts = Timeouts::default().with_total(Duration::from_secs(10));
        Weather {
            pool: ConnectionPool::builder()
                .max_connections(2)
                .timeouts(timeouts)
                .build(backend.clone()),
            runtime: backend,
            base: base.into(),
        }
    }

    /// The temperature in `city`, in degrees Celsius.
    ///
    /// # Errors
    ///
    /// See [`WeatherError`].
    pub async fn temperature(&self, city: &str) -> Result<f64, WeatherError> {
        for _ in 0..ATTEMPTS {
            let response = self.ask(city).await?;
            match response.status() {
                StatusCode::OK => return read(response).await,
                StatusCode::SERVICE_UNAVAILABLE => {
                    let pause = retry_after(&response);
                    drop(response);
                    httpcore::backend::sleep_until(&self.runtime, self.runtime.now() + pause).await;
                }
                status => return Err(WeatherError::Refused(status)),
            }
        }
        Err(WeatherError::Busy)
    }

    /// The pool, for those who look after it.
    pub fn pool(&self) -> &ConnectionPool {
        &self.pool
    }

    async fn ask(&self, city: &str) -> Result<Response, WeatherError> {
        let request = http::Request::get(format!("{}/temperature/{city}", self.base))
            .header("accept", "text/plain")
            .body(Body::empty())
            .map_err(|_| WeatherError::Nonsense)?;
        Ok(self.pool.request(request).await?)
    }
}

async fn read(response: Response) -> Result<f64, WeatherError> {
    let text = response.into_body().bytes(100).await?;
    std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or(WeatherError::Nonsense)
}

fn retry_after(response: &Response) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

impl From<Error> for WeatherError {
    fn from(error: Error) -> Self {
        WeatherError::Http(error)
    }
}

impl fmt::Display for WeatherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WeatherError::Http(_) => f.write_str("the weather service could not be asked"),
            WeatherError::Refused(status) => write!(f, "the weather service said {status}"),
            WeatherError::Busy => f.write_str("the weather service is busy"),
            WeatherError::Nonsense => f.write_str("the weather service talks nonsense"),
        }
    }
}

impl std::error::Error for WeatherError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WeatherError::Http(error) => Some(error),
            _ => None,
        }
    }
}
