//! State that the driver of a connection and its exchanges share, besides h2's.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use httpcore_core_primitives::StreamLimit;

use crate::validate::FrameViolation;

/// Shared by the stream below, the driver and the exchanges. Locks are held for single accesses.
#[derive(Debug, Default)]
pub(crate) struct ConnShared {
    /// Number of bytes that may still be read before other tasks run.
    allowance: AtomicUsize,
    /// Number of bytes that have been read; it may wrap.
    bytes_read: AtomicUsize,
    /// A request has ended without a response when this many bytes had been read.
    suspected: AtomicU8,
    suspected_at: AtomicUsize,
    /// The connection has been dropped: nothing is written any more.
    gone: AtomicBool,
    /// Number of bytes that have been written; it may wrap.
    written: AtomicUsize,
    /// There are no exchanges.
    idle: AtomicBool,
    /// Nothing has been written for an exchange since there were none.
    rested: AtomicBool,
    /// Weight of the unsolicited frames, since the driver last checked it.
    control: AtomicUsize,
    /// A violation has been found in a stream.
    has_findings: AtomicBool,
    /// Maximum number of streams with the present windows, and, in the lower half, the number of
    /// streams.
    room: AtomicU64,
    /// Exchanges wait for room.
    lacks_room: AtomicBool,
    /// The last stream that was passed to h2.
    begun: AtomicU32,
    /// The last stream whose HEADERS h2 has written.
    opened: AtomicU32,
    /// The streams between the two will never be opened.
    stranded: AtomicBool,
    state: Mutex<LinkState>,
}

/// Maximum number of violations kept for streams that have not checked for them. More than none is
/// rare, and a server may not fill memory with them.
const MAX_VIOLATIONS: usize = 64;

#[derive(Debug, Default)]
struct LinkState {
    /// How the connection ended, for the errors of its streams.
    end: Option<End>,
    admission: Option<StreamLimit>,
    /// The limit has not been reported to the pool.
    is_news: bool,
    listener: Option<Waker>,
    /// The server's SETTINGS have arrived.
    has_settings: bool,
    /// Exchanges that need them.
    settings: Waiting,
    /// Exchanges that wait for smaller windows, or for streams to end.
    room: Waiting,
    /// Exchanges whose streams have not been opened.
    unopened: Waiting,
    findings: Vec<FrameViolation>,
    /// The code of the server's last GOAWAY.
    goaway: Option<u32>,
    /// The driver, to be woken when the connection is no longer used.
    driver: Option<Waker>,
}

/// Wakers, by numbers that are assigned in order.
#[derive(Debug, Default)]
struct Waiting {
    list: Vec<(u64, Waker)>,
    /// The last number assigned.
    waited: u64,
}

impl Waiting {
    /// Keeps `waker` under `number`, which is assigned if it is 0. Returns the waker that was
    /// there, to be dropped outside the lock.
    fn keep(&mut self, number: &mut u64, waker: Waker) -> Option<Waker> {
        let before = self.list.iter_mut().find(|(other, _)| other == number);
        match before {
            Some((_, former)) => Some(std::mem::replace(former, waker)),
            None => {
                if *number == 0 {
                    self.waited += 1;
                    *number = self.waited;
                }
                self.list.push((*number, waker));
                None
            }
        }
    }

    fn remove(&mut self, number: u64) -> Option<(u64, Waker)> {
        let at = self.list.iter().position(|&(other, _)| other == number);
        at.map(|at| self.list.swap_remove(at))
    }
}

/// How a request ended that had no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Unanswered {
    /// Its caller dropped it, perhaps as soon as it was sent.
    Dropped = 1,
    /// A time limit was reached.
    TooLate = 2,
}

/// Returns the upper and the lower half.
fn halves(room: u64) -> (u32, u32) {
    #[allow(clippy::cast_possible_truncation, reason = "this is the lower half")]
    ((room >> 32) as u32, room as u32)
}

fn wake(waiting: Vec<(u64, Waker)>) {
    for (_, waker) in waiting {
        waker.wake();
    }
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The server closed it.
    Closed,
    /// The server closed it after writing had failed with this error.
    ClosedAfter(Arc<io::Error>),
    /// Reading or writing failed.
    Failed(Arc<io::Error>),
    /// A keep-alive PING timed out.
    Silent,
    /// A PING timed out after a request had ended without a response.
    Unanswered,
    /// The server exceeded a limit on unsolicited or useless frames.
    Abused(&'static str),
    /// The runtime dropped its driver.
    Dropped,
}

impl ConnShared {
    /// Starts a poll of the driver, in which at most `allowance` bytes are read.
    pub(crate) fn begin_turn(&self, allowance: usize, idle: bool) {
        self.allowance.store(allowance, Ordering::Relaxed);
        self.idle.store(idle, Ordering::Relaxed);
        if idle {
            self.rested.store(true, Ordering::Relaxed);
        }
    }

    /// Returns whether this is the first write for an exchange since there were none.
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
        self.bytes_read.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Keeps the driver's waker for [`released`](Self::released).
    pub(crate) fn drives(&self, waker: &Waker) {
        let mut state = self.state();
        if state
            .driver
            .as_ref()
            .is_some_and(|old| old.will_wake(waker))
        {
            return;
        }
        let former = state.driver.replace(waker.clone());
        drop(state);
        drop(former);
    }

    /// Returns the driver's waker, once it has been polled.
    pub(crate) fn driver(&self) -> Option<Waker> {
        self.state().driver.clone()
    }

    /// Wakes the driver to end the connection, which is no longer used.
    pub(crate) fn released(&self) {
        let driver = self.state().driver.take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Returns the number of bytes read, which changes whenever something arrives.
    pub(crate) fn bytes_read(&self) -> usize {
        self.bytes_read.load(Ordering::Acquire)
    }

    /// Records that a request has ended without a response. If nothing has arrived since
    /// `bytes_read` bytes had been read, the driver checks whether the server is alive.
    pub(crate) fn suspect(&self, bytes_read: usize, why: Unanswered) {
        if self.bytes_read() != bytes_read || self.is_gone() {
            return;
        }
        self.suspected_at.store(bytes_read, Ordering::Relaxed);
        self.suspected.fetch_max(why as u8, Ordering::AcqRel);
        if let Some(driver) = self.driver() {
            driver.wake();
        }
    }

    /// Returns whether the server is suspected to be dead, once for each suspicion.
    pub(crate) fn take_suspicion(&self) -> Option<Unanswered> {
        if self.suspected.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let why = match self.suspected.swap(0, Ordering::AcqRel) {
            1 => Unanswered::Dropped,
            _ => Unanswered::TooLate,
        };
        (self.suspected_at.load(Ordering::Relaxed) == self.bytes_read()).then_some(why)
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

    /// Returns a number that changes whenever something is written.
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    /// Records a violation by the server.
    pub(crate) fn found(&self, finding: FrameViolation) {
        if finding == FrameViolation::TooManyBlocks {
            return self.ended(End::Abused(
                "the server sent more than a hundred interim (1xx) responses to one request",
            ));
        }
        let mut state = self.state();
        if let FrameViolation::GoAway(code) = finding {
            state.goaway = Some(code);
            return;
        }
        if state.findings.len() == MAX_VIOLATIONS {
            state.findings.remove(0);
        }
        state.findings.push(finding);
        drop(state);
        self.has_findings.store(true, Ordering::Release);
    }

    /// Returns whether this violation was found.
    pub(crate) fn has_found(&self, finding: FrameViolation) -> bool {
        self.has_findings.load(Ordering::Acquire) && self.state().findings.contains(&finding)
    }

    /// Returns the code of the server's GOAWAY, if there was one.
    pub(crate) fn goaway(&self) -> Option<u32> {
        self.state().goaway
    }

    pub(crate) fn count_control_frame(&self, control: usize) {
        self.control.fetch_add(control, Ordering::Relaxed);
    }

    /// Returns whether the unsolicited frames weigh more than `limit`; if so, counting starts
    /// again.
    pub(crate) fn is_flooded(&self, limit: usize) -> bool {
        let flooded = self.control.load(Ordering::Relaxed) > limit;
        if flooded {
            self.control.store(0, Ordering::Relaxed);
        }
        flooded
    }

    /// Records the end of the connection. The first failure is the explanation.
    pub(crate) fn ended(&self, end: End) {
        self.state().end.get_or_insert(end);
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.state().end.clone()
    }

    /// Tells the pool how many exchanges are admitted, if that has changed.
    pub(crate) fn publish(&self, admission: StreamLimit) {
        let listener = {
            let mut state = self.state();
            if state.admission == Some(admission) || state.admission == Some(StreamLimit::Closed) {
                return;
            }
            state.admission = Some(admission);
            state.is_news = true;
            state.listener.take()
        };
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    pub(crate) fn poll_stream_limit(&self, cx: &mut Context<'_>) -> Poll<StreamLimit> {
        let mut state = self.state();
        if state.is_news
            && let Some(admission) = state.admission
        {
            state.is_news = false;
            return Poll::Ready(admission);
        }
        let former = state.listener.replace(cx.waker().clone());
        drop(state);
        drop(former);
        Poll::Pending
    }

    /// The server's SETTINGS have arrived, or never will: wakes the exchanges that need them.
    pub(crate) fn settled(&self) {
        let waiting = {
            let mut state = self.state();
            state.has_settings = true;
            std::mem::take(&mut state.settings.list)
        };
        wake(waiting);
    }

    /// Ready once the server's SETTINGS have arrived, or never will. Otherwise the exchange is
    /// assigned a number, with which it [leaves](Self::leave).
    pub(crate) fn poll_settings(&self, cx: &mut Context<'_>, number: &mut u64) -> Poll<()> {
        // No waker is cloned or dropped under the lock.
        let waker = cx.waker().clone();
        let _former = {
            let mut state = self.state();
            if state.has_settings {
                return Poll::Ready(());
            }
            state.settings.keep(number, waker)
        };
        Poll::Pending
    }

    /// Stops waiting for SETTINGS under `number`.
    pub(crate) fn leave(&self, number: u64) {
        let _gone = self.state().settings.remove(number);
    }

    /// Returns the number of streams, of exchanges that wait for room, and the maximum number of
    /// streams.
    pub(crate) fn streams(&self) -> (u32, u32, u32) {
        let waiting = if self.lacks_room.load(Ordering::SeqCst) {
            u32::try_from(self.state().room.list.len()).unwrap_or(u32::MAX)
        } else {
            0
        };
        let room = self.room.load(Ordering::SeqCst);
        let (most, streams) = halves(room);
        (streams, waiting, most)
    }

    /// Sets the maximum number of streams, unless there are more.
    pub(crate) fn admit(&self, most: u32) -> bool {
        let admitted = self
            .room
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| {
                let (_, streams) = halves(room);
                (streams <= most).then_some(u64::from(most) << 32 | u64::from(streams))
            });
        self.has_room();
        admitted.is_ok()
    }

    /// Ready once one more stream may be opened, and counts it.
    pub(crate) fn poll_room(&self, cx: &Context<'_>, number: &mut u64) -> Poll<()> {
        if self.take_room() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let _former = {
            let mut state = self.state();
            self.lacks_room.store(true, Ordering::SeqCst);
            state.room.keep(number, waker)
        };
        // First the waker, then another check.
        if self.take_room() {
            return Poll::Ready(());
        }
        if let Some(driver) = self.driver() {
            driver.wake();
        }
        Poll::Pending
    }

    fn take_room(&self) -> bool {
        self.room
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| {
                let (most, streams) = halves(room);
                (streams < most).then_some(room + 1)
            })
            .is_ok()
    }

    /// A stream that was counted has ended.
    pub(crate) fn give_room(&self) {
        self.room.fetch_sub(1, Ordering::SeqCst);
        self.has_room();
    }

    /// Wakes the exchanges that wait for room.
    fn has_room(&self) {
        if self.lacks_room.load(Ordering::SeqCst) {
            let waiting = {
                let mut state = self.state();
                self.lacks_room.store(false, Ordering::SeqCst);
                std::mem::take(&mut state.room.list)
            };
            wake(waiting);
        }
    }

    /// Stops waiting for room under `number`.
    pub(crate) fn needs_no_room(&self, number: u64) {
        let _gone = self.state().room.remove(number);
    }

    /// The stream of this number has been passed to h2.
    pub(crate) fn has_begun(&self, stream: u32) {
        self.begun.fetch_max(stream, Ordering::AcqRel);
    }

    /// The HEADERS of all streams up to this number have left h2, and will be written.
    pub(crate) fn opens(&self, stream: u32) {
        self.opened.store(stream, Ordering::Release);
    }

    /// Returns the last stream whose HEADERS have left h2, which opens streams in the order of
    /// their numbers.
    pub(crate) fn opened(&self) -> u32 {
        self.opened.load(Ordering::Acquire)
    }

    /// Returns whether h2 has streams whose HEADERS it has not written.
    pub(crate) fn has_unopened(&self) -> bool {
        self.begun.load(Ordering::Acquire) > self.opened()
    }

    /// The server admits no streams, and h2 has some that it has not opened and never will: they
    /// are sent on other connections. This one takes no more.
    pub(crate) fn strand(&self) {
        self.stranded.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut self.state().unopened.list);
        self.publish(StreamLimit::Closed);
        wake(waiting);
    }

    /// Returns whether streams that have not been opened never will be.
    pub(crate) fn has_stranded(&self) -> bool {
        self.stranded.load(Ordering::Acquire)
    }

    /// Keeps the waker of an exchange until its stream has been opened, and for
    /// [`strand`](Self::strand).
    pub(crate) fn waits_to_open(&self, cx: &Context<'_>, number: &mut u64) {
        let waker = cx.waker().clone();
        let _former = self.state().unopened.keep(number, waker);
    }

    /// Stops waiting under `number` for a stream to be opened.
    pub(crate) fn is_not_opened(&self, number: u64) {
        let _gone = self.state().unopened.remove(number);
    }

    /// Takes out the wakers of exchanges whose streams have been opened, if all have been. They are
    /// left in `spare`, whose memory is used again.
    pub(crate) fn forget_opened(&self, spare: &mut Vec<(u64, Waker)>) {
        let mut state = self.state();
        if !state.unopened.list.is_empty() && !self.has_unopened() {
            std::mem::swap(&mut state.unopened.list, spare);
        }
    }

    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
