//! Bodies for http-body and hyper.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use httpcore_benches::{CHUNK_BYTES, Failure, Task, Workload};

/// A body of zeros, in chunks; empty without any.
#[derive(Debug)]
pub struct Zeros(u64);

impl Zeros {
    /// Returns the body of a request of `task`.
    pub fn of(task: &Task) -> Self {
        Zeros(if task.workload == Workload::Upload {
            task.size
        } else {
            0
        })
    }
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let size = self.0.min(CHUNK_BYTES as u64);
        self.0 -= size;
        let piece = Bytes::from_static(&crate::ZEROS[..size as usize]);
        Poll::Ready((size > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

/// Reads a response to its end and returns its length.
pub async fn read<B>(response: http::Response<B>) -> Result<u64, Failure>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Failure>,
{
    if response.status() != 200 {
        return Err(format!("answered with {}", response.status()).into());
    }
    let (mut body, mut length) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Into::into)?;
        length += frame.data_ref().map_or(0, |piece| piece.len() as u64);
    }
    Ok(length)
}
