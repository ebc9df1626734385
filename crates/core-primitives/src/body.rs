//! Request and response bodies.
//!
//! One type serves both directions. Its content is one of:
//!
//! - nothing ([`Body::empty`]), or bytes in memory (`Body::from`): the length is known, and the body
//!   can be sent more than once;
//! - any [`http_body::Body`] ([`Body::wrap`]), a function that is polled ([`Body::poll_fn`]), or,
//!   with the feature `stream`, any `Stream`: sent once; the length can be
//!   [set](Body::with_length);
//! - a [replayable](Body::replayable) body, which can be produced again for each attempt;
//! - a response that is still arriving: it owns its connection, and dropping it releases or closes that.
//!
//! ```
//! use httpcore_core_primitives::{Body, BodyLength};
//!
//! let body = Body::from("hello");
//! assert_eq!(body.length(), BodyLength::Known(5));
//! assert!(body.try_clone().is_some());
//! ```

use std::{
    any::Any,
    borrow::Cow,
    convert::Infallible,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use crate::{
    collect::too_large,
    error::{BoxError, Error, ErrorKind, ErrorPhase, RequestSent},
};

/// The body of a request or a response. It implements [`http_body::Body`].
///
/// After an error, every method that receives returns an [equal error](Error::repeated) again, and never
/// the end: what was received before it is a part of the body.
pub struct Body {
    content: Content,
    /// The remaining part of the announced length, which the content may not know. Always `None` for
    /// [`Content::Replayable`], whose bodies each have their own.
    announced: Option<u64>,
}

type BoxedBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = Error> + Send>>;
type MakeBody = Arc<dyn Fn() -> Body + Send + Sync>;

enum Content {
    Empty,
    Bytes(Bytes),
    /// Bytes in memory that have been yielded.
    Taken,
    /// The error that ended the body, which every later poll returns again: a part cannot be taken for
    /// the whole.
    Failed(Error),
    Boxed(BoxedBody),
    /// `current` is created at the first poll.
    Replayable {
        make: MakeBody,
        current: Option<Box<Body>>,
    },
}

/// The length of a body, as far as it is known.
///
/// Exhaustive on purpose: there is no third case, and every framing must handle both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyLength {
    /// Exactly this number of bytes.
    Known(u64),
    /// Not known before the end.
    Unknown,
}

impl Body {
    /// Returns a body without bytes and trailers.
    pub const fn empty() -> Self {
        Body {
            content: Content::Empty,
            announced: None,
        }
    }

    /// Wraps another body. The length is known if its size hint is exact.
    ///
    /// A wrapped body is sent once, even if all its bytes are in memory, which is not visible from
    /// outside. Use `Body::from` for bytes in memory, and [`replayable`](Self::replayable) for a body that
    /// can be produced again. Two types are recognised: a `Body` is returned unchanged, and a `String`
    /// is converted by `Body::from`.
    ///
    /// An error of `body` becomes an [`Error`] of [`ErrorKind::RequestBody`] with it as source, unless
    /// it is an [`Error`] already.
    pub fn wrap<B>(body: B) -> Self
    where
        B: http_body::Body + Send + 'static,
        B::Data: Into<Bytes>,
        B::Error: Into<BoxError>,
    {
        let mut body = Some(body);
        let known = &mut body as &mut dyn Any;
        if let Some(own) = known.downcast_mut::<Option<Body>>() {
            return own.take().unwrap_or_default();
        }
        if let Some(text) = known.downcast_mut::<Option<String>>() {
            return text.take().unwrap_or_default().into();
        }
        let Some(body) = body.filter(|body| !body.is_end_stream()) else {
            return Body::empty();
        };
        Body {
            announced: body.size_hint().exact(),
            content: Content::Boxed(Box::pin(Foreign { body })),
        }
    }

    /// Creates a body from a boxed one with this crate's error type, such as a response that is still
    /// arriving. Unlike [`wrap`](Self::wrap), this costs no allocation.
    pub fn from_boxed(
        body: Pin<Box<dyn http_body::Body<Data = Bytes, Error = Error> + Send>>,
    ) -> Self {
        Body {
            content: Content::Boxed(body),
            announced: None,
        }
    }

    /// Creates a body of the chunks that `poll` yields, until `None`.
    ///
    /// ```
    /// use httpcore_core_primitives::Body;
    /// use std::{convert::Infallible, task::Poll};
    ///
    /// let mut chunks = vec!["two", "one"];
    /// let body = Body::poll_fn(move |_cx| {
    ///     Poll::Ready(chunks.pop().map(|chunk| Ok::<_, Infallible>(chunk.into())))
    /// });
    /// ```
    pub fn poll_fn<F, E>(poll: F) -> Self
    where
        F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, E>>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Body::wrap(FromFn {
            poll: Box::new(poll),
        })
    }

    /// Creates a body of the chunks that `stream` yields.
    #[cfg(feature = "stream")]
    pub fn from_stream<S, E>(stream: S) -> Self
    where
        S: futures_core::Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let mut stream = Box::pin(stream);
        Body::poll_fn(move |cx| stream.as_mut().poll_next(cx))
    }

    /// Creates a body that can be sent more than once: `make` is called for each attempt, and must return
    /// the same bytes each time.
    pub fn replayable(make: impl Fn() -> Body + Send + Sync + 'static) -> Self {
        Body {
            content: Content::Replayable {
                make: Arc::new(make),
                current: None,
            },
            announced: None,
        }
    }

    /// Sets the length in bytes, for a streamed body whose length is known by other means. The body is
    /// then sent with `Content-Length`; it is an error if it turns out shorter or longer.
    #[must_use]
    pub fn with_length(mut self, length: u64) -> Self {
        match self.content {
            // Each body that `make` returns gets the length.
            Content::Replayable { make, current } => {
                self.content = Content::Replayable {
                    make: Arc::new(move || make().with_length(length)),
                    current: current.map(|body| Box::new(body.with_length(length))),
                };
            }
            _ => self.announced = Some(length),
        }
        self
    }

    /// Returns the length of the remaining body.
    pub fn length(&self) -> BodyLength {
        if let Some(length) = self.announced {
            return BodyLength::Known(length);
        }
        match &self.content {
            Content::Empty | Content::Taken => BodyLength::Known(0),
            Content::Bytes(bytes) => BodyLength::Known(bytes.len() as u64),
            Content::Boxed(body) => match body.size_hint().exact() {
                Some(length) => BodyLength::Known(length),
                None => BodyLength::Unknown,
            },
            Content::Replayable { make, current } => match current {
                Some(body) => body.length(),
                None => make().length(),
            },
            Content::Failed(_) => BodyLength::Unknown,
        }
    }

    /// Returns whether there is nothing to send: no bytes and no trailers.
    pub fn is_empty(&self) -> bool {
        matches!(self.content, Content::Empty | Content::Taken) && self.announced.unwrap_or(0) == 0
    }

    /// Returns the bytes if they are all in memory, so that an encoder can write them with the head.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns a second body equal to this one. `None` if the body can be sent only once, or if a part of
    /// it has been consumed.
    pub fn try_clone(&self) -> Option<Self> {
        let content = match &self.content {
            Content::Empty => Content::Empty,
            Content::Bytes(bytes) => Content::Bytes(bytes.clone()),
            Content::Boxed(_) | Content::Taken | Content::Failed(_) => return None,
            Content::Replayable { make, .. } => Content::Replayable {
                make: make.clone(),
                current: None,
            },
        };
        Some(Body {
            content,
            announced: self.announced,
        })
    }

    /// Yields the next chunk of data, and `None` at the end. Trailers are skipped;
    /// [`frame`](Self::frame) yields them. Dropping the future loses nothing.
    ///
    /// ```
    /// # use httpcore_core_primitives::{Body, Error};
    /// async fn size(mut body: Body) -> Result<usize, Error> {
    ///     let mut size = 0;
    ///     while let Some(chunk) = body.chunk().await {
    ///         size += chunk?.len();
    ///     }
    ///     Ok(size)
    /// }
    /// # let _ = size(Body::empty());
    /// ```
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        // Bytes in memory, which most small responses are, need no frame.
        match &mut self.content {
            Content::Empty | Content::Taken => return Poll::Ready(None),
            Content::Bytes(bytes) => {
                let data = std::mem::take(bytes);
                self.content = Content::Taken;
                self.yielded(data.len());
                return Poll::Ready((!data.is_empty()).then_some(Ok(data)));
            }
            Content::Boxed(_) | Content::Replayable { .. } | Content::Failed(_) => {}
        }
        loop {
            let frame = match std::task::ready!(self.poll_next(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Some(Ok(data))),
                Err(_trailers) => {}
            }
        }
    }

    /// Reads the whole body, at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] as soon as more than `limit` bytes have arrived or are announced; the
    /// connection is then closed. Errors of the body.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        let too_large = || too_large(limit);
        // Small responses come as bytes at hand, and most are small.
        if let Content::Bytes(bytes) = &mut self.content
            && bytes.len() <= limit
        {
            return Ok(std::mem::take(bytes));
        }
        let lower_bound = http_body::Body::size_hint(&self).lower();
        if lower_bound > limit as u64 {
            return Err(too_large());
        }
        let Some(first) = self.chunk().await.transpose()? else {
            return Ok(Bytes::new());
        };
        if first.len() > limit {
            return Err(too_large());
        }
        let Some(second) = self.chunk().await.transpose()? else {
            return Ok(first);
        };
        // Only what has arrived is reserved: an announced length may be false.
        let mut whole = BytesMut::with_capacity(first.len() + second.len());
        whole.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if chunk.len() > limit - whole.len() {
                return Err(too_large());
            }
            whole.extend_from_slice(&chunk);
            next = self.chunk().await.transpose()?;
        }
        Ok(whole.freeze())
    }

    /// Polls for the next frame, data or trailers: [`http_body::Body::poll_frame`] without the pin.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let next = match &mut self.content {
            Content::Empty | Content::Taken => return Poll::Ready(None),
            Content::Bytes(bytes) => {
                let data = std::mem::take(bytes);
                self.content = Content::Taken;
                Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
            }
            Content::Boxed(body) => body.as_mut().poll_frame(cx),
            Content::Replayable { make, current } => {
                return current
                    .get_or_insert_with(|| Box::new(make()))
                    .poll_next(cx);
            }
            Content::Failed(error) => return Poll::Ready(Some(Err(error.repeated()))),
        };
        match &next {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.yielded(data.len());
                }
            }
            Poll::Ready(Some(Err(error))) => {
                let failed = Content::Failed(error.repeated());
                (self.content, self.announced) = (failed, None);
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        next
    }

    /// Subtracts `size` bytes from the remaining length.
    fn yielded(&mut self, size: usize) {
        if let Some(left) = &mut self.announced {
            *left = left.saturating_sub(size as u64);
        }
    }

    /// Yields the next frame, data or trailers, and `None` at the end. Dropping the future loses
    /// nothing.
    ///
    /// ```
    /// # use httpcore_core_primitives::{Body, Error};
    /// async fn trailers(mut body: Body) -> Result<Option<http::HeaderMap>, Error> {
    ///     while let Some(frame) = body.frame().await {
    ///         if let Ok(trailers) = frame?.into_trailers() {
    ///             return Ok(Some(trailers));
    ///         }
    ///     }
    ///     Ok(None)
    /// }
    /// # let _ = trailers(Body::empty());
    /// ```
    pub async fn frame(&mut self) -> Option<Result<Frame<Bytes>, Error>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl Default for Body {
    fn default() -> Self {
        Body::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body {
            content: if bytes.is_empty() {
                Content::Empty
            } else {
                Content::Bytes(bytes)
            },
            announced: None,
        }
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Body::empty()
    }
}

/// `None` is an empty body.
impl<B: Into<Body>> From<Option<B>> for Body {
    fn from(body: Option<B>) -> Self {
        body.map_or_else(Body::empty, Into::into)
    }
}

impl From<BytesMut> for Body {
    fn from(bytes: BytesMut) -> Self {
        bytes.freeze().into()
    }
}

impl From<Box<[u8]>> for Body {
    fn from(bytes: Box<[u8]>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<Cow<'static, str>> for Body {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.get_mut().poll_next(cx)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty | Content::Taken => true,
            Content::Bytes(_) | Content::Failed(_) => false,
            Content::Boxed(body) => body.is_end_stream(),
            Content::Replayable { current, .. } => {
                current.as_ref().is_some_and(|body| body.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.content, self.length()) {
            (Content::Boxed(body), BodyLength::Unknown) => body.size_hint(),
            (
                Content::Replayable {
                    current: Some(body),
                    ..
                },
                BodyLength::Unknown,
            ) => body.size_hint(),
            (_, BodyLength::Known(length)) => SizeHint::with_exact(length),
            (_, BodyLength::Unknown) => SizeHint::new(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = match &self.content {
            Content::Empty | Content::Taken => "empty",
            Content::Bytes(_) => "bytes",
            Content::Boxed(_) => "stream",
            Content::Replayable { .. } => "replayable",
            Content::Failed(_) => "failed",
        };
        match self.length() {
            BodyLength::Known(length) => write!(f, "Body({content}, {length} bytes)"),
            BodyLength::Unknown => write!(f, "Body({content})"),
        }
    }
}

pin_project_lite::pin_project! {
    /// A body of another library, with data and errors converted.
    struct Foreign<B> {
        #[pin]
        body: B,
    }
}

impl<B> http_body::Body for Foreign<B>
where
    B: http_body::Body,
    B::Data: Into<Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.project().body.poll_frame(cx).map(|next| {
            next.map(|frame| {
                frame
                    .map(|frame| frame.map_data(Into::into))
                    .map_err(foreign_error)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn foreign_error(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(error) => *error,
        Err(foreign) => Error::new(ErrorKind::RequestBody, ErrorPhase::Send, RequestSent::Full)
            .with_source(foreign),
    }
}

struct FromFn<E> {
    poll: Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, E>>> + Send>,
}

impl<E: Into<BoxError>> http_body::Body for FromFn<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        (self.get_mut().poll)(cx).map(|next| next.map(|data| data.map(Frame::data)))
    }
}

impl Body {
    /// Appends `trailers` (RFC 9110 §6.5). Over HTTP/1.1 the body is sent with chunked coding.
    #[must_use]
    pub fn with_trailers(self, trailers: HeaderMap) -> Self {
        let mut data = self;
        let mut trailers = Some(trailers);
        let body = TrailingBody(move |cx: &mut Context<'_>| match data.poll_next(cx) {
            Poll::Ready(None) => Poll::Ready(
                trailers
                    .take()
                    .map(|trailers| Ok(Frame::trailers(trailers))),
            ),
            other => other,
        });
        Body {
            content: Content::Boxed(Box::pin(body)),
            announced: None,
        }
    }
}

struct TrailingBody<F>(F);

impl<F> http_body::Body for TrailingBody<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        (self.get_mut().0)(cx)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_chunk(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::Future, task::Waker};

    fn now<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("a body in memory is never pending"),
        }
    }

    fn chunks(texts: &[&'static str]) -> Body {
        let mut texts: Vec<_> = texts.iter().rev().copied().collect();
        Body::poll_fn(move |_| {
            Poll::Ready(texts.pop().map(|text| Ok::<_, Infallible>(text.into())))
        })
    }

    #[test]
    fn body_reports_its_length_if_known() {
        assert_eq!(Body::empty().length(), BodyLength::Known(0));
        assert_eq!(Body::from("four").length(), BodyLength::Known(4));
        assert_eq!(chunks(&["a"]).length(), BodyLength::Unknown);
        assert_eq!(chunks(&["a"]).with_length(1).length(), BodyLength::Known(1));
        assert_eq!(
            Body::replayable(|| "abc".into()).length(),
            BodyLength::Known(3)
        );
        let wrapped = Body::wrap(http_body_util::Full::new(Bytes::from_static(b"12345")));
        assert_eq!(wrapped.length(), BodyLength::Known(5));
    }

    /// A body with an exact size hint, which shrinks only if `shrinks` is set.
    struct Measured {
        pieces: std::collections::VecDeque<&'static str>,
        shrinks: bool,
        size: u64,
    }

    impl Measured {
        fn new(pieces: &[&'static str], shrinks: bool) -> Self {
            let size = pieces.iter().map(|piece| piece.len() as u64).sum();
            let pieces = pieces.iter().copied().collect();
            Measured {
                pieces,
                shrinks,
                size,
            }
        }
    }

    impl http_body::Body for Measured {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = self.pieces.pop_front();
            if self.shrinks {
                self.size -= piece.map_or(0, |piece| piece.len() as u64);
            }
            Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.into()))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.size)
        }
    }

    #[test]
    fn rest_of_a_body_can_be_read_within_its_remaining_length() {
        let halves = ["hello", "world"];
        for mut body in [
            Body::wrap(Measured::new(&halves, true)),
            Body::wrap(Measured::new(&halves, false)),
            Body::from_boxed(Box::pin(Foreign {
                body: Measured::new(&halves, true),
            })),
            chunks(&halves).with_length(10),
            Body::replayable(|| chunks(&["hello", "world"]).with_length(10)),
            Body::replayable(|| chunks(&["hello", "world"])).with_length(10),
        ] {
            assert_eq!(now(body.chunk()).unwrap().unwrap(), "hello");
            assert_eq!(body.length(), BodyLength::Known(5));
            assert_eq!(http_body::Body::size_hint(&body).exact(), Some(5));
            if let Some(again) = body.try_clone() {
                assert_eq!(again.length(), BodyLength::Known(10));
            }
            assert_eq!(now(body.bytes(5)).unwrap(), "world");
        }
    }

    #[test]
    fn consumed_bytes_are_not_cloned_as_an_empty_body() {
        let mut body = Body::from("four").with_length(4);
        assert_eq!(now(body.chunk()).unwrap().unwrap(), "four");
        assert_eq!(body.length(), BodyLength::Known(0));
        assert!(body.is_empty() && body.try_clone().is_none());
    }

    #[test]
    fn wrapped_body_of_this_type_can_still_be_cloned() {
        let own = Body::wrap(Body::wrap(Body::from("four")));
        assert_eq!(own.as_bytes().unwrap(), "four");
        assert!(own.try_clone().is_some());
        assert!(Body::wrap(Body::empty()).try_clone().is_some());
        assert!(Body::wrap(String::from("four")).try_clone().is_some());
        let foreign = http_body_util::Full::new(Bytes::from_static(b"four"));
        assert!(Body::wrap(foreign).try_clone().is_none());
    }

    #[test]
    fn replayable_body_can_be_cloned_after_the_first_chunk() {
        let mut body = Body::replayable(|| chunks(&["one", "two"]));
        assert_eq!(now(body.chunk()).unwrap().unwrap(), "one");
        let again = body.try_clone().unwrap();
        assert_eq!(now(again.bytes(100)).unwrap(), "onetwo");
        assert_eq!(now(body.bytes(100)).unwrap(), "two");
        assert!(chunks(&["a"]).try_clone().is_none());
    }

    #[test]
    fn bytes_refuses_bodies_above_the_limit() {
        assert_eq!(
            now(chunks(&["ab", "", "cd", "e"]).bytes(5)).unwrap(),
            "abcde"
        );
        for body in [chunks(&["ab", "cd"]), chunks(&["abcd"]), "abcd".into()] {
            let error = now(body.bytes(3)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
    }

    #[test]
    fn foreign_errors_become_request_body_errors_and_own_errors_are_kept() {
        let mut foreign = Body::poll_fn(|_| Poll::Ready(Some(Err("disk full"))));
        let error = now(foreign.chunk()).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RequestBody);
        let mut own = Body::poll_fn(|_| {
            Poll::Ready(Some(Err(Error::new(
                ErrorKind::ConnectionClosed,
                ErrorPhase::Body,
                RequestSent::Full,
            ))))
        });
        let error = now(own.chunk()).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionClosed);
    }

    #[test]
    fn error_of_a_body_is_returned_again_by_every_method() {
        fn failing() -> Body {
            let mut texts = vec!["part"];
            Body::poll_fn(move |_| {
                Poll::Ready(match texts.pop() {
                    Some(text) => Some(Ok(Bytes::from(text))),
                    None => Some(Err("disk full")),
                })
            })
        }
        let once = {
            // After its error, the body below is at its end.
            let mut items = vec![Err("disk full"), Ok(Bytes::from("part"))];
            move || Body::poll_fn(move |_| Poll::Ready(items.pop()))
        };
        for mut body in [
            failing(),
            once(),
            failing().with_length(10),
            failing().with_trailers(HeaderMap::new()),
            Body::replayable(failing),
            Body::wrap(Body::replayable(failing)),
        ] {
            assert_eq!(now(body.chunk()).unwrap().unwrap(), "part");
            let first = now(body.chunk()).unwrap().unwrap_err();
            assert_eq!(first.kind(), ErrorKind::RequestBody);
            assert!(!http_body::Body::is_end_stream(&body), "{body:?}");
            assert!(!body.is_empty() && body.length() != BodyLength::Known(0));
            for error in [
                now(body.chunk()).unwrap().unwrap_err(),
                now(body.frame()).unwrap().unwrap_err(),
                now(body.chunk()).unwrap().unwrap_err(),
                now(body.bytes(1000)).unwrap_err(),
            ] {
                assert_eq!(error.kind(), first.kind());
                assert_eq!(format!("{error:#}"), format!("{first:#}"));
            }
        }
        for receive in [true, false] {
            let mut body = failing();
            while now(body.chunk()).unwrap().is_ok() {}
            let error = if receive {
                now(body.collect(1000)).unwrap_err()
            } else {
                now(body.text(1000)).unwrap_err()
            };
            assert_eq!(error.kind(), ErrorKind::RequestBody);
        }
    }

    #[test]
    fn trailers_follow_the_data() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("1"));
        let mut body = Body::from("data").with_trailers(trailers);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(first))) = body.poll_next(&mut cx) else {
            panic!("data first")
        };
        assert_eq!(first.into_data().unwrap(), "data");
        let Poll::Ready(Some(Ok(last))) = body.poll_next(&mut cx) else {
            panic!("trailers last")
        };
        assert!(last.is_trailers());
        assert!(matches!(body.poll_next(&mut cx), Poll::Ready(None)));
    }

    #[test]
    fn an_optional_body_is_empty_without_a_value() {
        assert!(Body::from(None::<&str>).is_empty());
        assert_eq!(Body::from(Some("data")).as_bytes().unwrap(), "data");
    }
}
