//! What the programs in `src/bin` share: their arguments.
//!
//! Each is called as `PROGRAM ADDR REQUESTS IN_FLIGHT`, makes that many requests for `/hello` of
//! the origin at ADDR, and fails unless each was answered in full. `cargo xtask bench` counts what
//! that takes.

#![forbid(unsafe_code)]

use std::{env, net::SocketAddr};

/// What a program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Where the origin listens.
    pub addr: SocketAddr,
    /// How many requests are made in all.
    pub requests: u64,
    /// How many of them at once, at most.
    pub in_flight: u64,
}

/// The task in this process's arguments.
///
/// # Errors
///
/// In a sentence, if there is none.
pub fn task() -> Result<Task, String> {
    parse(env::args().skip(1)).ok_or("usage: PROGRAM ADDR REQUESTS IN_FLIGHT".into())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Task> {
    let task = Task {
        addr: arguments.next()?.parse().ok()?,
        requests: arguments.next()?.parse().ok()?,
        in_flight: arguments.next()?.parse().ok().filter(|count| *count > 0)?,
    };
    arguments.next().is_none().then_some(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_three_words_and_does_something() {
        let parse = |line: &str| parse(line.split(' ').map(String::from));
        let task = parse("127.0.0.1:80 1000 4").unwrap();
        assert_eq!((task.requests, task.in_flight), (1000, 4));
        for wrong in [
            "",
            "127.0.0.1:80 1",
            "127.0.0.1 1 1",
            "127.0.0.1:80 1 0",
            "127.0.0.1:80 1 1 1",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
