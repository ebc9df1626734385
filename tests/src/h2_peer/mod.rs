//! The other end of an HTTP/2 connection, frame by frame.
//!
//! It is made to break rules: every field of every frame can be wrong, and nothing here stops a
//! script from sending what RFC 9113 forbids. What it *receives* is taken apart strictly, so that a
//! client which sends nonsense fails the test.
//!
//! ```text
//!   script    what a server does, step by step, and then politely
//!     peer      one end of a connection: the preface, frames in and out, the rules of both
//!       record    what the client has said
//!       frames    a frame as bytes and back
//!       hpack     field blocks: a naive encoder, a whole decoder
//! ```

pub mod frames;
pub mod hpack;
mod huffman;
pub mod peer;
pub mod record;
pub mod script;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Runs two futures at the same time.
pub async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    poll_fn(|cx| {
        if from_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            from_a = Some(output);
        }
        if from_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            from_b = Some(output);
        }
        match (from_a.take(), from_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (from_a, from_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}
