//! Configuration of an event source.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{ACCEPT, CACHE_CONTROL},
};
use httpcore_core_primitives::{
    BoxError, Error, ErrorKind, ErrorPhase, Request, RequestSent, Timeouts,
};

use crate::parser::Limits;

/// Minimum wait before a reconnect, as browsers have one: with `retry: 0`, a server that ends each
/// response at once would get thousands of requests a second.
const MIN_PAUSE: Duration = Duration::from_millis(500);

/// Configuration of an [`EventSource`](crate::EventSource): the request and its reconnects.
///
/// An invalid one makes the first poll of the source fail.
///
/// ```
/// use httpcore_sse::Subscription;
/// use std::time::Duration;
///
/// let subscription = Subscription::new("http://localhost/events")
///     .header("authorization", "Bearer …")
///     .last_event_id("41")
///     .max_reconnects(10)
///     .max_reconnect_delay(Duration::from_secs(60));
/// ```
#[derive(Debug)]
#[must_use]
pub struct Subscription(pub(crate) Result<Plan, Error>);

#[derive(Debug)]
pub(crate) struct Plan {
    url: Uri,
    fields: HeaderMap,
    options: http::Extensions,
    pub(crate) last_event_id: String,
    pub(crate) limits: Limits,
    pub(crate) reconnect_delay: Duration,
    pub(crate) max_reconnect_delay: Duration,
    pub(crate) max_reconnects: Option<u32>,
}

/// Time limits of an event stream: neither silence nor its total duration is limited.
fn stream_limits() -> Timeouts {
    Timeouts::default().without_read().without_total()
}

impl Subscription {
    /// Returns a subscription to the events at `url`.
    ///
    /// Unless set with an [option](Self::option), the pool's [`Timeouts::read`] and [`Timeouts::total`]
    /// do not apply: connecting is limited, silence is not.
    pub fn new<U>(url: U) -> Self
    where
        U: TryInto<Uri>,
        U::Error: Into<BoxError>,
    {
        let url = url.try_into().map_err(|error| {
            Error::new(
                ErrorKind::InvalidUrl,
                ErrorPhase::Request,
                RequestSent::None,
            )
            .with_message("invalid URL")
            .with_source(error)
        });
        Subscription(url.map(|url| {
            let mut fields = HeaderMap::new();
            fields.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
            fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            let mut options = http::Extensions::new();
            options.insert(stream_limits());
            Plan {
                url,
                fields,
                options,
                last_event_id: String::new(),
                limits: Limits::default(),
                reconnect_delay: Duration::from_secs(3),
                max_reconnect_delay: Duration::from_secs(120),
                max_reconnects: None,
            }
        }))
    }

    /// Adds a header field to each request.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        N::Error: Into<BoxError>,
        V: TryInto<HeaderValue>,
        V::Error: Into<BoxError>,
    {
        Subscription(self.0.and_then(|mut plan| {
            let invalid = |error: BoxError| {
                Error::new(
                    ErrorKind::InvalidRequest,
                    ErrorPhase::Request,
                    RequestSent::None,
                )
                .with_message("invalid header field")
                .with_source(error)
            };
            let name = name.try_into().map_err(|error| invalid(error.into()))?;
            let value = value.try_into().map_err(|error| invalid(error.into()))?;
            plan.fields.append(name, value);
            Ok(plan)
        }))
    }

    /// Adds a value to each request's [`http::Extensions`]: time limits, a listener.
    pub fn option<T: Clone + Send + Sync + 'static>(self, option: T) -> Self {
        self.set(|plan| {
            plan.options.insert(option);
            // A limit that is set leaves the others as they are for streams.
            if let Some(own) = plan.options.get::<Timeouts>().copied() {
                plan.options.insert(own.or(&stream_limits()));
            }
        })
    }

    /// Sets `Last-Event-ID` of the first request. An id that is not a valid field value, such as one with
    /// a line feed, is [`ErrorKind::InvalidRequest`] when the source is first polled.
    pub fn last_event_id(self, id: impl Into<String>) -> Self {
        let id = id.into();
        Subscription(self.0.and_then(|mut plan| {
            HeaderValue::from_bytes(id.as_bytes()).map_err(|error| {
                Error::new(
                    ErrorKind::InvalidRequest,
                    ErrorPhase::Request,
                    RequestSent::None,
                )
                .with_message("invalid character in the last event id")
                .with_source(error)
            })?;
            plan.last_event_id = id;
            Ok(plan)
        }))
    }

    /// Sets the limits of the parser.
    pub fn limits(self, limits: Limits) -> Self {
        self.set(|plan| plan.limits = limits)
    }

    /// Sets the wait before a reconnect, until the server sets another (`retry`); 3 s by
    /// default. Each connection in a row without an event doubles it, up to
    /// [`max_reconnect_delay`](Self::max_reconnect_delay). The minimum is 500 ms.
    pub fn reconnect_delay(self, reconnect_delay: Duration) -> Self {
        self.set(|plan| plan.reconnect_delay = reconnect_delay)
    }

    /// Sets the maximum wait before a reconnect, also for a `retry` of the server; two minutes by
    /// default. The minimum is 500 ms.
    pub fn max_reconnect_delay(self, reconnect_delay: Duration) -> Self {
        self.set(|plan| plan.max_reconnect_delay = reconnect_delay)
    }

    /// Sets the maximum number of reconnects in a row without an event; unlimited by default.
    ///
    /// An event sets the count back to 0; a response that ends without one does not. After `count`
    /// reconnects, the next failure or end is the end of the stream, with its error. With 0, there
    /// is one connection and no reconnect.
    pub fn max_reconnects(self, count: u32) -> Self {
        self.set(|plan| plan.max_reconnects = Some(count))
    }

    fn set(self, change: impl FnOnce(&mut Plan)) -> Self {
        Subscription(self.0.map(|mut plan| {
            change(&mut plan);
            plan
        }))
    }
}

impl Plan {
    /// The request for the events after that of this id.
    pub(crate) fn request(&self, last_event_id: &str) -> Request {
        let mut request = Request::default();
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.fields.clone();
        *request.extensions_mut() = self.options.clone();
        // One that no field can hold was not sent by a server that wants it back.
        if let Ok(id) = HeaderValue::from_bytes(last_event_id.as_bytes())
            && !last_event_id.is_empty()
        {
            request.headers_mut().insert("last-event-id", id);
        }
        request
    }

    /// The wait after this number of connections in a row without an event; the one that has just ended
    /// counts, with or without events.
    pub(crate) fn pause_after(&self, failures: u32, servers: Option<Duration>) -> Duration {
        let reconnect_delay = servers.unwrap_or(self.reconnect_delay).max(MIN_PAUSE);
        let times = 2_u32.saturating_pow(failures.saturating_sub(1));
        reconnect_delay
            .saturating_mul(times)
            .min(self.max_reconnect_delay.max(MIN_PAUSE))
    }
}
