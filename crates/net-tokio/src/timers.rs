//! The one timer of tokio's that a backend has.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use httpcore_core_primitives::Timer;
use tokio::time::{Sleep, sleep_until};

/// A timer of tokio's, which is created inside the runtime, by the first poll.
#[derive(Default)]
pub(crate) struct TokioSleep(Option<Pin<Box<Sleep>>>);

impl Timer for TokioSleep {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }

    /// Leaves it armed: at most one wake follows.
    fn disarm(&mut self) {}
}
