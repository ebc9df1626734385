//! HTTP/2 against a server that is made of frames: what is sent, what is refused, and what becomes
//! of the connection, of the other streams, and of the pool.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

mod cancelling;
mod fields;
mod floods;
mod flow;
mod goaway;
mod idle;
mod messages;
mod moods;
mod neighbours;
mod pools;
mod requests;
mod resets;
mod settings;
mod streams;
mod told;
mod tunnels;
