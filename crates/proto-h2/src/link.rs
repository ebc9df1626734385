//! What the driver of a connection and its exchanges tell each other besides what h2 tells them.

use std::{
    error::Error as StdError,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use httpcore_core_primitives::Admission;

use crate::inspect::Finding;

/// Shared by the stream below, the driver and the exchanges. Locks are held for a look.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// How many bytes may still be read before others have their turn.
    allowance: AtomicUsize,
    /// How many bytes were read since the driver last asked.
    heard: AtomicUsize,
    /// The connection has been dropped: nothing is written any more.
    gone: AtomicBool,
    /// How many bytes have been written; it may begin anew.
    written: AtomicUsize,
    /// No exchange is under way.
    idle: AtomicBool,
    /// Nothing has been written for an exchange since that was so.
    rested: AtomicBool,
    /// What the frames weighed that nobody asked for, since the driver last asked.
    control: AtomicUsize,
    /// Whether anything has been found wrong with a stream.
    has_findings: AtomicBool,
    said: Mutex<Said>,
}

/// How many findings are kept for streams that have not asked. More than the usual none is rare, and
/// a server may not fill memory with them.
const MOST_FINDINGS: usize = 64;

#[derive(Debug, Default)]
struct Said {
    /// How the connection ended, for those who ask why their stream did.
    end: Option<End>,
    admission: Option<Admission>,
    /// Whether that is news to the pool.
    is_news: bool,
    listener: Option<Waker>,
    /// The server's SETTINGS have come.
    has_settings: bool,
    /// Who cannot go on without them, by their numbers.
    waiting: Vec<(u64, Waker)>,
    /// How many have ever waited.
    waited: u64,
    findings: Vec<Finding>,
    /// The driver, to be told when nobody holds the connection any more.
    driver: Option<Waker>,
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The server closed it.
    Closed,
    /// Reading or writing failed.
    Failed(Arc<io::Error>),
    /// No sign of life came in time.
    Silent,
    /// The server did too much of something.
    Abused(&'static str),
    /// The runtime dropped its driver.
    Dropped,
}

impl Link {
    /// A turn of the driver begins.
    pub(crate) fn begin_turn(&self, allowance: usize, idle: bool) {
        self.allowance.store(allowance, Ordering::Relaxed);
        self.idle.store(idle, Ordering::Relaxed);
        if idle {
            self.rested.store(true, Ordering::Relaxed);
        }
    }

    /// Whether this is the first time that an exchange has something written since there were none.
    pub(crate) fn begins_anew(&self) -> bool {
        !self.is_idle() && self.rested.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    pub(crate) fn may_read(&self) -> bool {
        self.allowance.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn has_read(&self, bytes: usize) {
        let left = self.allowance.load(Ordering::Relaxed).saturating_sub(bytes);
        self.allowance.store(left, Ordering::Relaxed);
        self.heard.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Keeps the driver's waker for [`let_go`](Self::let_go).
    pub(crate) fn drives(&self, waker: &Waker) {
        let mut said = self.said();
        if said.driver.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return;
        }
        let former = said.driver.replace(waker.clone());
        drop(said);
        drop(former);
    }

    /// The driver's waker, once it has been polled.
    pub(crate) fn driver(&self) -> Option<Waker> {
        self.said().driver.clone()
    }

    /// Nobody holds the connection any more: its driver is to end it.
    pub(crate) fn let_go(&self) {
        let driver = self.said().driver.take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// How many bytes were read since this was last asked.
    pub(crate) fn take_heard(&self) -> usize {
        self.heard.swap(0, Ordering::Relaxed)
    }

    pub(crate) fn has_written(&self, bytes: usize) {
        self.written.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn has_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// A number which changes whenever something is written.
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    /// Something was found in what the server sent.
    pub(crate) fn found(&self, finding: Finding) {
        if finding == Finding::TooManyBlocks {
            return self.ended(End::Abused("there are too many interim responses"));
        }
        let mut said = self.said();
        if said.findings.len() == MOST_FINDINGS {
            said.findings.remove(0);
        }
        said.findings.push(finding);
        drop(said);
        self.has_findings.store(true, Ordering::Release);
    }

    /// Whether this was found.
    pub(crate) fn has_found(&self, finding: Finding) -> bool {
        self.has_findings.load(Ordering::Acquire) && self.said().findings.contains(&finding)
    }

    pub(crate) fn weigh(&self, control: usize) {
        self.control.fetch_add(control, Ordering::Relaxed);
    }

    /// Whether the frames that nobody asked for weigh more than so much; if so, it begins anew.
    pub(crate) fn is_flooded(&self, limit: usize) -> bool {
        let flooded = self.control.load(Ordering::Relaxed) > limit;
        if flooded {
            self.control.store(0, Ordering::Relaxed);
        }
        flooded
    }

    /// Notes the end of the connection. The first thing that went wrong is the explanation.
    pub(crate) fn ended(&self, end: End) {
        self.said().end.get_or_insert(end);
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.said().end.clone()
    }

    /// Tells the pool how many exchanges are admitted, if that is news.
    pub(crate) fn publish(&self, admission: Admission) {
        let listener = {
            let mut said = self.said();
            if said.admission == Some(admission) || said.admission == Some(Admission::Over) {
                return;
            }
            said.admission = Some(admission);
            said.is_news = true;
            said.listener.take()
        };
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    pub(crate) fn poll_limit(&self, cx: &mut Context<'_>) -> Poll<Admission> {
        let mut said = self.said();
        if said.is_news
            && let Some(admission) = said.admission
        {
            said.is_news = false;
            return Poll::Ready(admission);
        }
        let former = said.listener.replace(cx.waker().clone());
        drop(said);
        drop(former);
        Poll::Pending
    }

    /// The server's SETTINGS have come, or never will.
    pub(crate) fn settled(&self) {
        let waiting = {
            let mut said = self.said();
            said.has_settings = true;
            std::mem::take(&mut said.waiting)
        };
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// Ready once the server's SETTINGS have come, or never will. Whoever waits is given a number,
    /// and [leaves](Self::leave) by that.
    pub(crate) fn poll_settings(&self, cx: &mut Context<'_>, number: &mut u64) -> Poll<()> {
        // Nobody else's waker is cloned or dropped under the lock.
        let waker = cx.waker().clone();
        let _former = {
            let mut said = self.said();
            if said.has_settings {
                return Poll::Ready(());
            }
            let before = said.waiting.iter_mut().find(|(other, _)| other == number);
            match before {
                Some((_, former)) => Some(std::mem::replace(former, waker)),
                None => {
                    said.waited += 1;
                    *number = said.waited;
                    said.waiting.push((*number, waker));
                    None
                }
            }
        };
        Poll::Pending
    }

    /// Whoever had this number waits no more.
    pub(crate) fn leave(&self, number: u64) {
        let _gone = {
            let mut said = self.said();
            let at = said.waiting.iter().position(|&(other, _)| other == number);
            at.map(|at| said.waiting.swap_remove(at))
        };
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An I/O error which several exchanges share as their source.
#[derive(Clone, Debug)]
pub(crate) struct SharedError(pub(crate) Arc<io::Error>);

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for SharedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
