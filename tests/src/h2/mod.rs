//! The other end of an HTTP/2 connection, frame by frame.
//!
//! It is made to break rules: every field of every frame can be wrong, and nothing here stops a
//! script from sending what RFC 9113 forbids. What it *receives* is taken apart strictly, so that a
//! client which sends nonsense fails the test.
//!
//! ```text
//!   script    what a server does, step by step, and then politely
//!     peer      one end of a connection: the preface, frames in and out, a record of what came
//!       frames    a frame as bytes and back
//!       hpack     field blocks: a naive encoder, a whole decoder
//! ```

pub mod frames;
pub mod hpack;
mod huffman;
pub mod peer;
pub mod script;
