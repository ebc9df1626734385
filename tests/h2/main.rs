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
mod silent;
mod streams;
mod told;
mod tunnels;
mod unread;

/// The cases, as they are written.
const SOURCES: [&str; 7] = [
    include_str!("fields.rs"),
    include_str!("floods.rs"),
    include_str!("flow.rs"),
    include_str!("messages.rs"),
    include_str!("resets.rs"),
    include_str!("settings.rs"),
    include_str!("streams.rs"),
];

#[test]
fn every_difference_that_is_listed_has_its_case() {
    let list = include_str!("../../docs/http2-differences.md");
    let names = list.lines().filter_map(|line| line.strip_prefix("- `"));
    for name in names.map(|line| line.trim_end_matches('`')) {
        let quoted = format!("\"{name}\"");
        let has_case = SOURCES.iter().any(|source| source.contains(&quoted));
        assert!(has_case, "{name}");
    }
}
