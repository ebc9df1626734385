//! A WebSocket as a [`Sink`] of messages.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_sink::Sink;
use httpcore_core_primitives::NetworkStream;

use super::{Message, MessageError, WebSocket};

/// Closing the sink sends a Close frame without a code, if none was sent before. It does not wait for
/// the peer's, which the last item of the stream is.
impl<S: NetworkStream + Unpin> Sink<Message> for WebSocket<S> {
    type Error = MessageError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), MessageError>> {
        WebSocket::poll_ready(self.get_mut(), cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), MessageError> {
        WebSocket::start_send(self.get_mut(), message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), MessageError>> {
        WebSocket::poll_flush(self.get_mut(), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), MessageError>> {
        self.get_mut().poll_finish(cx, None)
    }
}
