//! Who is told of interim responses.

use std::{fmt, sync::Arc};

/// Told of the interim responses to one request (RFC 9110 §15.2), 103 with its hints among them.
/// Goes into the request's extensions. Called while the exchange is polled, and must not block.
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
    /// `told` is told.
    pub fn new(told: impl Fn(&http::Response<()>) + Send + Sync + 'static) -> Self {
        OnInformational(Arc::new(told))
    }

    /// Tells of `response`: for protocols.
    pub fn tell(&self, response: &http::Response<()>) {
        (self.0)(response);
    }
}

impl fmt::Debug for OnInformational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnInformational")
    }
}
