//! What the driver of a connection and its exchanges tell each other besides what h2 tells them.

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

/// Shared by the stream below, the driver and the exchanges. Locks are held for a look.
#[derive(Debug, Default)]
pub(crate) struct ConnShared {
    /// How many bytes may still be read before others have their turn.
    allowance: AtomicUsize,
    /// How many bytes have been read; it may begin anew.
    bytes_read: AtomicUsize,
    /// A request has ended without an answer, while so many bytes had been read.
    suspected: AtomicU8,
    suspected_at: AtomicUsize,
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
    /// How many streams there may be with the windows they have now, and, in the lower half, how many
    /// there are.
    room: AtomicU64,
    /// Exchanges wait for room.
    lacks_room: AtomicBool,
    /// The last stream that was given to h2.
    begun: AtomicU32,
    /// The last stream whose HEADERS h2 has written.
    opened: AtomicU32,
    /// Those between the two never will be opened.
    stranded: AtomicBool,
    said: Mutex<LinkState>,
}

/// How many findings are kept for streams that have not asked. More than the usual none is rare, and
/// a server may not fill memory with them.
const MAX_VIOLATIONS: usize = 64;

#[derive(Debug, Default)]
struct LinkState {
    /// How the connection ended, for those who ask why their stream did.
    end: Option<End>,
    admission: Option<StreamLimit>,
    /// Whether that is news to the pool.
    is_news: bool,
    listener: Option<Waker>,
    /// The server's SETTINGS have come.
    has_settings: bool,
    /// Exchanges that cannot go on without them.
    settings: Waiting,
    /// Exchanges that wait for windows to become smaller, or for streams to end.
    room: Waiting,
    /// Exchanges whose streams have not been opened.
    unopened: Waiting,
    findings: Vec<FrameViolation>,
    /// The code of the server's last GOAWAY.
    goaway: Option<u32>,
    /// The driver, to be told when nobody holds the connection any more.
    driver: Option<Waker>,
}

/// Wakers, by numbers which are given out as they come.
#[derive(Debug, Default)]
struct Waiting {
    list: Vec<(u64, Waker)>,
    /// How many have ever waited.
    waited: u64,
}

impl Waiting {
    /// Keeps `waker` under `number`, which is given out if it is 0. Returns the waker that was there,
    /// to be dropped outside the lock.
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

/// How a request ended to which there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Unanswered {
    /// Its caller dropped it, perhaps as soon as it was sent.
    Dropped = 1,
    /// A time limit ran out.
    TooLate = 2,
}

/// The upper half, and the lower one.
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
    /// The server closed it after writing had failed so.
    ClosedAfter(Arc<io::Error>),
    /// Reading or writing failed.
    Failed(Arc<io::Error>),
    /// No sign of life came in time.
    Silent,
    /// None came after a request had ended without an answer.
    Unanswered,
    /// The server did too much of something.
    Abused(&'static str),
    /// The runtime dropped its driver.
    Dropped,
}

impl ConnShared {
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
        self.bytes_read.fetch_add(bytes, Ordering::AcqRel);
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

    /// How many bytes have been read: a number which changes whenever something comes.
    pub(crate) fn bytes_read(&self) -> usize {
        self.bytes_read.load(Ordering::Acquire)
    }

    /// A request has ended without an answer. If nothing has come since the time when so many bytes
    /// had been read, the driver is to find out whether the server is alive.
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

    /// Whether the server is suspected to be dead, once for each suspicion.
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

    /// A number which changes whenever something is written.
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    /// Something was found in what the server sent.
    pub(crate) fn found(&self, finding: FrameViolation) {
        if finding == FrameViolation::TooManyBlocks {
            return self.ended(End::Abused(
                "the server sent more than a hundred interim (1xx) responses to one request",
            ));
        }
        let mut said = self.said();
        if let FrameViolation::GoAway(code) = finding {
            said.goaway = Some(code);
            return;
        }
        if said.findings.len() == MAX_VIOLATIONS {
            said.findings.remove(0);
        }
        said.findings.push(finding);
        drop(said);
        self.has_findings.store(true, Ordering::Release);
    }

    /// Whether this was found.
    pub(crate) fn has_found(&self, finding: FrameViolation) -> bool {
        self.has_findings.load(Ordering::Acquire) && self.said().findings.contains(&finding)
    }

    /// With which code the server has said that it ends the connection, if it has.
    pub(crate) fn goaway(&self) -> Option<u32> {
        self.said().goaway
    }

    pub(crate) fn count_control_frame(&self, control: usize) {
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
    pub(crate) fn publish(&self, admission: StreamLimit) {
        let listener = {
            let mut said = self.said();
            if said.admission == Some(admission) || said.admission == Some(StreamLimit::Closed) {
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

    pub(crate) fn poll_stream_limit(&self, cx: &mut Context<'_>) -> Poll<StreamLimit> {
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
            std::mem::take(&mut said.settings.list)
        };
        wake(waiting);
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
            said.settings.keep(number, waker)
        };
        Poll::Pending
    }

    /// The exchange that had this number waits for SETTINGS no more.
    pub(crate) fn leave(&self, number: u64) {
        let _gone = self.said().settings.remove(number);
    }

    /// How many streams there are, how many wait, and how many there may be.
    pub(crate) fn streams(&self) -> (u32, u32, u32) {
        let waiting = if self.lacks_room.load(Ordering::SeqCst) {
            u32::try_from(self.said().room.list.len()).unwrap_or(u32::MAX)
        } else {
            0
        };
        let room = self.room.load(Ordering::SeqCst);
        let (most, streams) = halves(room);
        (streams, waiting, most)
    }

    /// Sets how many streams there may be, unless there are more.
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

    /// Ready once one stream more may be begun, and counts it.
    pub(crate) fn poll_room(&self, cx: &Context<'_>, number: &mut u64) -> Poll<()> {
        if self.take_room() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let _former = {
            let mut said = self.said();
            self.lacks_room.store(true, Ordering::SeqCst);
            said.room.keep(number, waker)
        };
        // First the waker, then another look.
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

    /// A stream that was counted is over.
    pub(crate) fn give_room(&self) {
        self.room.fetch_sub(1, Ordering::SeqCst);
        self.has_room();
    }

    /// Wakes those who wait for room.
    fn has_room(&self) {
        if self.lacks_room.load(Ordering::SeqCst) {
            let waiting = {
                let mut said = self.said();
                self.lacks_room.store(false, Ordering::SeqCst);
                std::mem::take(&mut said.room.list)
            };
            wake(waiting);
        }
    }

    /// The exchange that had this number waits for room no more.
    pub(crate) fn needs_no_room(&self, number: u64) {
        let _gone = self.said().room.remove(number);
    }

    /// A stream of this number has been given to h2.
    pub(crate) fn has_begun(&self, stream: u32) {
        self.begun.fetch_max(stream, Ordering::AcqRel);
    }

    /// The HEADERS of all streams up to this number have left h2, and will be written.
    pub(crate) fn opens(&self, stream: u32) {
        self.opened.store(stream, Ordering::Release);
    }

    /// The last stream whose HEADERS have left h2. It opens streams in the order of their numbers.
    pub(crate) fn opened(&self) -> u32 {
        self.opened.load(Ordering::Acquire)
    }

    /// Whether h2 has streams whose HEADERS it has not written.
    pub(crate) fn has_unopened(&self) -> bool {
        self.begun.load(Ordering::Acquire) > self.opened()
    }

    /// The server admits no streams, and h2 has some that it has not opened. It never will: they
    /// are sent elsewhere. Nor does the connection take others.
    pub(crate) fn strand(&self) {
        self.stranded.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut self.said().unopened.list);
        self.publish(StreamLimit::Closed);
        wake(waiting);
    }

    /// Whether streams that have not been opened never will be.
    pub(crate) fn has_stranded(&self) -> bool {
        self.stranded.load(Ordering::Acquire)
    }

    /// Keeps the waker of an exchange until its stream has been opened, and for
    /// [`strand`](Self::strand).
    pub(crate) fn waits_to_open(&self, cx: &Context<'_>, number: &mut u64) {
        let waker = cx.waker().clone();
        let _former = self.said().unopened.keep(number, waker);
    }

    /// The exchange that had this number does not wait for its stream to be opened.
    pub(crate) fn is_not_opened(&self, number: u64) {
        let _gone = self.said().unopened.remove(number);
    }

    /// Forgets the wakers of exchanges whose streams have been opened, if all have. They are left
    /// in `spare`, whose room is used for the next.
    pub(crate) fn forget_opened(&self, spare: &mut Vec<(u64, Waker)>) {
        let mut said = self.said();
        if !said.unopened.list.is_empty() && !self.has_unopened() {
            std::mem::swap(&mut said.unopened.list, spare);
        }
    }

    fn said(&self) -> MutexGuard<'_, LinkState> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
