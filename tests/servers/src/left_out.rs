//! What to do about a server that is not here.

use std::{
    env,
    io::{self, Write},
};

use crate::Server;

/// What `start` starts; or `None`, said aloud, if `HTTPCORE_LEFT_OUT` names it.
///
/// # Panics
///
/// If it does not start, and `HTTPCORE_LEFT_OUT` does not name it.
pub(crate) fn or_start(name: &str, start: impl FnOnce() -> io::Result<Server>) -> Option<Server> {
    let left_out = env::var("HTTPCORE_LEFT_OUT").unwrap_or_default();
    if left_out.split(',').any(|left_out| left_out == name) {
        // Past the test harness, which would keep it to itself. `cargo xtask` counts these lines,
        // for the harness will call the test passed.
        let _ = writeln!(io::stdout(), "LEFT OUT: {name} is not here");
        return None;
    }
    match start() {
        Ok(server) => Some(server),
        Err(error) => {
            panic!("{name} does not start: {error}\n`cargo xtask interop` installs what is missing")
        }
    }
}
