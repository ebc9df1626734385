//! A client of a fictitious service of items.
//!
//! The caller gives it a pool, and so decides about limits, time and backend. The library adds what the
//! service needs: its URLs, a token, JSON, retries that are safe, and errors of its own.

use std::time::Duration;

use httpcore::{
    Body, ConnectionPool, Error, Response,
    http::{
        Method, Request, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
    },
};
use serde::{Deserialize, Serialize};

/// Maximum size of a response, in bytes.
const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// Number of attempts for one call.
const ATTEMPTS: u32 = 4;
/// Maximum pause that the service can ask for.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// An item.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Item {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ItemsError {
    /// The service could not be reached, or did not answer.
    #[error("the service of items did not answer")]
    Http(#[from] Error),
    /// It refused the token.
    #[error("the token was refused")]
    Token,
    /// It answered with another status than expected.
    #[error("the service of items answered {0}: {1}")]
    Refused(StatusCode, String),
    /// It answered with something else than an item.
    #[error("the answer is no item")]
    Answer(#[from] serde_json::Error),
}

/// A client. Clones share the pool.
#[derive(Clone, Debug)]
pub struct Items {
    pool: ConnectionPool,
    base: String,
    token: HeaderValue,
}

impl Items {
    /// Creates a client of the service at `base`, for example `https://items.example/v1`.
    ///
    /// # Errors
    ///
    /// If the token is not a valid field value.
    pub fn new(pool: ConnectionPool, base: &str, token: &str) -> Result<Self, Error> {
        let mut token = HeaderValue::from_str(&format!("Bearer {token}"))?;
        token.set_sensitive(true);
        Ok(Items {
            pool,
            base: base.trim_end_matches('/').into(),
            token,
        })
    }

    /// Returns item `id`; `None` if there is none.
    ///
    /// # Errors
    ///
    /// See [`ItemsError`].
    pub async fn get(&self, id: u64) -> Result<Option<Item>, ItemsError> {
        let response = self
            .call(Method::GET, &format!("/items/{id}"), Body::empty())
            .await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(read(response).await?))
    }

    /// Creates an item. It is not repeated where the service may have created it already.
    ///
    /// # Errors
    ///
    /// See [`ItemsError`].
    pub async fn create(&self, name: &str) -> Result<Item, ItemsError> {
        let body = serde_json::to_vec(&serde_json::json!({ "name": name }))?;
        read(self.call(Method::POST, "/items", body.into()).await?).await
    }

    /// Replaces an item. PUT is idempotent, so that it is repeated like a GET.
    ///
    /// # Errors
    ///
    /// See [`ItemsError`].
    pub async fn replace(&self, item: &Item) -> Result<Item, ItemsError> {
        let body = serde_json::to_vec(item)?;
        read(
            self.call(Method::PUT, &format!("/items/{}", item.id), body.into())
                .await?,
        )
        .await
    }

    async fn call(&self, method: Method, path: &str, body: Body) -> Result<Response, Error> {
        let mut pause = Duration::from_millis(250);
        for attempt in 1.. {
            let request = Request::builder()
                .method(&method)
                .uri(format!("{}{path}", self.base))
                .header(AUTHORIZATION, &self.token)
                .header(CONTENT_TYPE, "application/json")
                .body(body.try_clone().unwrap_or_default())?; // in memory: always
            let outcome = self.pool.request(request).await;
            if attempt == ATTEMPTS {
                return outcome;
            }
            match outcome {
                Err(error) if error.may_repeat(&method) => {}
                Ok(response) if is_busy(&response) => {
                    let wanted = retry_after(&response).unwrap_or_default();
                    pause = pause.max(wanted.min(MAX_PAUSE));
                }
                outcome => return outcome,
            }
            self.pool.sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }
}

/// Whether the service has not processed the request, and says so.
fn is_busy(response: &Response) -> bool {
    [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&response.status())
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

async fn read(response: Response) -> Result<Item, ItemsError> {
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        return Err(ItemsError::Token);
    }
    let body = response.into_body().bytes(MAX_RESPONSE_BYTES).await?;
    if !status.is_success() {
        return Err(ItemsError::Refused(
            status,
            String::from_utf8_lossy(&body).into_owned(),
        ));
    }
    Ok(serde_json::from_slice(&body)?)
}
