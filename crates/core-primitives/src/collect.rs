//! Receiving a whole body.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::{
    body::Body,
    error::{Error, ErrorKind, ErrorPhase, RequestSent},
};

/// A body that has been received in full, returned by [`Body::collect`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Collected {
    /// The data.
    pub bytes: Bytes,
    /// The trailer fields, if there was a trailer section.
    pub trailers: Option<HeaderMap>,
}

/// Receiving a whole body.
impl Body {
    /// Receives the whole body with its trailers, if the data is at most `limit` bytes.
    ///
    /// ```
    /// # use httpcore_core_primitives::{Body, Error};
    /// async fn grpc_status(body: Body) -> Result<Option<String>, Error> {
    ///     let collected = body.collect(4 << 20).await?;
    ///     let trailers = collected.trailers.unwrap_or_default();
    ///     let status = trailers.get("grpc-status").and_then(|value| value.to_str().ok());
    ///     Ok(status.map(str::to_owned))
    /// }
    /// # let _ = grpc_status(Body::empty());
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] if the body has more than `limit` bytes or announces more; the
    /// connection is then closed. Otherwise the error that ends the body.
    pub async fn collect(mut self, limit: usize) -> Result<Collected, Error> {
        if http_body::Body::size_hint(&self).lower() > limit as u64 {
            return Err(too_large(limit));
        }
        let mut collected = Collected::default();
        // Small responses are one piece, which is not copied. No more is reserved than has arrived.
        let mut joined = BytesMut::new();
        while let Some(frame) = self.frame().await.transpose()? {
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        collected.trailers.get_or_insert_default().extend(trailers);
                    }
                    continue;
                }
            };
            let received = collected.bytes.len() + joined.len();
            if data.len() > limit.saturating_sub(received) {
                return Err(too_large(limit));
            }
            if received == 0 {
                collected.bytes = data;
                continue;
            }
            if joined.is_empty() {
                joined.extend_from_slice(&std::mem::take(&mut collected.bytes));
            }
            joined.extend_from_slice(&data);
        }
        if !joined.is_empty() {
            collected.bytes = joined.freeze();
        }
        Ok(collected)
    }

    /// Receives the whole body as text, if it is at most `limit` bytes. Bytes that are not UTF-8 are
    /// replaced by U+FFFD; the `Content-Type` field is not consulted.
    ///
    /// # Errors
    ///
    /// As for [`bytes`](Self::bytes).
    pub async fn text(self, limit: usize) -> Result<String, Error> {
        let bytes = self.bytes(limit).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Receives the whole body into `writer`, and returns the number of bytes. Trailers are
    /// dropped.
    ///
    /// Each write blocks the thread of the event loop: fit for memory and local files, not for a
    /// pipe or a terminal that may be stopped.
    ///
    /// # Errors
    ///
    /// Those of `writer`; and those that end the body, as the [`io::Error`] that an [`Error`]
    /// converts to, with the [`Error`] inside. What has been written stays written.
    pub async fn copy_to(mut self, mut writer: impl Write) -> io::Result<u64> {
        let mut written = 0;
        while let Some(data) = self.chunk().await.transpose()? {
            writer.write_all(&data)?;
            written += data.len() as u64;
        }
        writer.flush()?;
        Ok(written)
    }
}

pub(crate) fn too_large(limit: usize) -> Error {
    Error::new(ErrorKind::TooLarge, ErrorPhase::Body, RequestSent::Full)
        .with_message(format!("body larger than the limit of {limit} bytes"))
        .with_response_started(true)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use http::HeaderValue;

    use super::*;

    fn ready<F: Future>(future: F) -> F::Output {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("nothing here waits"),
        }
    }

    fn pieces(pieces: &[&'static str]) -> Body {
        let mut pieces = pieces.to_vec().into_iter();
        Body::poll_fn(move |_| {
            Poll::Ready(pieces.next().map(|piece| Ok::<_, Infallible>(piece.into())))
        })
    }

    #[test]
    fn a_collected_body_has_its_data_and_its_trailers() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = pieces(&["one", "", "two", "three"]).with_trailers(trailers.clone());
        let collected = ready(body.collect(11)).unwrap();
        assert_eq!(collected.bytes, "onetwothree");
        assert_eq!(collected.trailers, Some(trailers));
        let collected = ready(Body::from("at once").collect(7)).unwrap();
        assert_eq!(
            (&collected.bytes[..], collected.trailers),
            (&b"at once"[..], None)
        );
        assert!(ready(Body::empty().collect(0)).unwrap().bytes.is_empty());
    }

    #[test]
    fn a_body_larger_than_the_limit_is_not_collected() {
        for (body, limit) in [
            (pieces(&["one", "two"]), 5),
            (pieces(&["one", "two", "three"]), 6),
            (pieces(&["one"]), 2),
            (Body::from("one"), 2),
            (pieces(&["one"]).with_length(3), 2),
        ] {
            let error = ready(body.collect(limit)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
    }

    #[test]
    fn text_replaces_what_is_not_utf_8() {
        assert_eq!(ready(Body::from("häuser").text(100)).unwrap(), "häuser");
        let latin = Body::from(&b"h\xe4user"[..]);
        assert_eq!(ready(latin.text(100)).unwrap(), "h\u{fffd}user");
    }

    #[test]
    fn a_copied_body_ends_in_the_writer_and_a_failed_one_ends_in_its_error() {
        let mut copy = Vec::new();
        assert_eq!(
            ready(pieces(&["one", "two"]).copy_to(&mut copy)).unwrap(),
            6
        );
        assert_eq!(copy, b"onetwo");
        let mut full = [0; 4];
        let error = ready(pieces(&["one", "two"]).copy_to(&mut full[..])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        let mut first = true;
        let broken = Body::poll_fn(move |_| {
            let piece = std::mem::take(&mut first).then(|| "one".into());
            Poll::Ready(Some(piece.ok_or("broken")))
        });
        copy.clear();
        let error = ready(broken.copy_to(&mut copy)).unwrap_err();
        assert!(error.get_ref().unwrap().is::<Error>());
        assert_eq!(copy, b"one");
    }
}
