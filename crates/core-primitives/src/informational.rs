//! A callback for informational responses.

use std::{fmt, sync::Arc};

/// A callback for the informational responses to one request (RFC 9110 §15.2), such as 103 with early
/// hints. In the request's extensions. It is called while the exchange is polled, and must not block.
///
/// ```
/// use httpcore_core_primitives::{Body, OnInformational};
///
/// let request = http::Request::get("http://localhost/")
///     .extension(OnInformational::new(|hint| println!("{} {:?}", hint.status(), hint.headers())))
///     .body(Body::empty())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone)]
pub struct OnInformational(Arc<dyn Fn(&http::Response<()>) + Send + Sync>);

impl OnInformational {
    /// Creates a callback.
    pub fn new(callback: impl Fn(&http::Response<()>) + Send + Sync + 'static) -> Self {
        OnInformational(Arc::new(callback))
    }

    /// Calls the callback with `response`. For protocols.
    pub fn tell(&self, response: &http::Response<()>) {
        (self.0)(response);
    }
}

impl fmt::Debug for OnInformational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnInformational")
    }
}
