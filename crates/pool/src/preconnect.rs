//! Connections that are made before there are requests for them.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use httpcore_core_primitives::Error;

use crate::{inner::PoolInner, route::Route};

/// Connections being made: the future of [`Pool::connect`](crate::Pool::connect).
///
/// # Panics
///
/// When it is polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Preconnect {
    /// Until the first poll.
    begin: Option<(Arc<PoolInner>, Route, usize)>,
    progress: Option<Arc<Progress>>,
    refused: Option<Error>,
}

impl Preconnect {
    pub(crate) fn new(pool: Arc<PoolInner>, route: Route, connections: usize) -> Self {
        Preconnect {
            begin: Some((pool, route, connections)),
            progress: None,
            refused: None,
        }
    }

    /// A future that fails with `error`, for callers that found no route.
    pub fn refused(error: Error) -> Self {
        Preconnect {
            begin: None,
            progress: None,
            refused: Some(error),
        }
    }
}

impl Future for Preconnect {
    type Output = Result<usize, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.refused.take() {
            return Poll::Ready(Err(error));
        }
        if let Some((pool, route, connections)) = self.begin.take() {
            self.progress = Some(pool.preconnect(&route, connections));
        }
        let Some(progress) = &self.progress else {
            panic!("polled after it was ready")
        };
        // A waker is neither cloned nor dropped under the lock.
        let mut waker = Some(cx.waker().clone());
        let outcome = {
            let mut state = progress.lock();
            if state.running > 0 {
                std::mem::swap(&mut state.waker, &mut waker);
                None
            } else {
                let opened = state.opened;
                Some(state.error.take().map_or(Ok(opened), Err))
            }
        };
        drop(waker);
        match outcome {
            None => Poll::Pending,
            Some(outcome) => {
                self.progress = None;
                Poll::Ready(outcome)
            }
        }
    }
}

impl fmt::Debug for Preconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preconnect").finish_non_exhaustive()
    }
}

/// What became of the attempts that one [`Preconnect`] began.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<State>);

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    opened: usize,
    /// The first.
    error: Option<Error>,
    waker: Option<Waker>,
}

/// One of these attempts. Dropped when the attempt is over.
#[derive(Debug)]
pub(crate) struct Begun(Arc<Progress>);

impl Begun {
    pub(crate) fn new(progress: &Arc<Progress>) -> Self {
        progress.lock().running += 1;
        Begun(progress.clone())
    }

    /// Notes how the attempt ended.
    pub(crate) fn ended(&self, error: Option<&Error>) {
        // Printing causes is foreign code: not under the lock.
        let copy = error.map(Error::repeated);
        let unused = {
            let mut state = self.0.lock();
            match copy {
                None => {
                    state.opened += 1;
                    None
                }
                Some(error) if state.error.is_none() => {
                    state.error = Some(error);
                    None
                }
                later => later,
            }
        };
        drop(unused);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.lock();
            state.running -= 1;
            match state.running {
                0 => state.waker.take(),
                _ => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
