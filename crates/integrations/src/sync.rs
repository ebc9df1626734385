//! Response bodies that are `Sync`.

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use httpcore::{Body, Error};

/// A response's body that is `Sync`, as these libraries demand it. The lock is never taken: access is
/// always exclusive.
pub(crate) struct SyncBody {
    body: Mutex<Body>,
    size: SizeHint,
    is_end: bool,
}

impl SyncBody {
    pub(crate) fn new(body: Body) -> Self {
        SyncBody {
            size: http_body::Body::size_hint(&body),
            is_end: http_body::Body::is_end_stream(&body),
            body: Mutex::new(body),
        }
    }
}

impl http_body::Body for SyncBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let body = this.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if polled.is_ready() {
            this.size = http_body::Body::size_hint(body);
            this.is_end = http_body::Body::is_end_stream(body);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_end
    }

    fn size_hint(&self) -> SizeHint {
        self.size.clone()
    }
}
