//! WebSockets through the facade: handshakes that every server could answer with, and messages from
//! a peer that is played frame by frame.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

mod adapters;
mod cancel;
mod floods;
mod frames;
mod handshake;
mod http2;
mod peer;
mod sending;
