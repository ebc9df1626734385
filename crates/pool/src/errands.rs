//! What a step leaves to be done without the lock, and the order in which it is done.

use std::{
    cell::RefCell,
    collections::VecDeque,
    mem::{replace, take},
    sync::Arc,
    task::Waker,
};

use crate::{
    dialling::Dialling,
    janitor,
    shell::{Held, Shared},
};

/// Something to be done without the lock.
pub(crate) enum Errand {
    Drop(Held),
    Wake(Waker),
    Dial(Box<Dialling>),
    /// Start the janitor.
    Watch,
    /// Drop what was kept of the pool by itself.
    LetGo(Arc<Shared>),
}

/// What a step leaves to be done. Usually nothing, often one thing.
#[derive(Default)]
pub(crate) struct Errands {
    first: Option<Errand>,
    rest: Vec<Errand>,
}

impl Errands {
    pub(crate) fn push(&mut self, errand: Errand) {
        if self.first.is_none() {
            self.first = Some(errand);
        } else {
            self.rest.push(errand);
        }
    }

    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.push(Errand::Wake(waker));
        }
    }

    /// Carries errands out in their order. Those which come of them wait until they are done: a
    /// runtime that drops each dial as soon as it is spawned would otherwise take the stack as deep
    /// as the queue is long.
    pub(crate) fn carry_out(self, pool: &Shared) {
        let Some(first) = self.first else { return };
        let Some(_turn) = Turn::begin() else {
            if let Some(pool) = pool.me.upgrade() {
                Later::put_off(&pool, first);
                self.rest
                    .into_iter()
                    .for_each(|errand| Later::put_off(&pool, errand));
            }
            return;
        };
        first.carry_out(pool);
        if !self.rest.is_empty() {
            self.rest
                .into_iter()
                .for_each(|errand| errand.carry_out(pool));
        }
        while let Some((pool, errand)) = Later::next() {
            errand.carry_out(&pool);
        }
    }
}

/// What was asked for on this thread while it carried something out.
struct Later {
    is_busy: bool,
    errands: VecDeque<(Arc<Shared>, Errand)>,
}

thread_local! {
    static LATER: RefCell<Later> = const {
        RefCell::new(Later {
            is_busy: false,
            errands: VecDeque::new(),
        })
    };
}

impl Later {
    fn put_off(pool: &Arc<Shared>, errand: Errand) {
        LATER.with_borrow_mut(|later| later.errands.push_back((pool.clone(), errand)));
    }

    fn next() -> Option<(Arc<Shared>, Errand)> {
        let next = LATER.try_with(|later| later.borrow_mut().errands.pop_front());
        next.ok().flatten()
    }
}

/// This thread carries something out. Whatever happens, the next errand is not put off for ever.
struct Turn;

impl Turn {
    /// `None` if the thread does already. While it ends, nothing can be put off any more.
    fn begin() -> Option<Self> {
        let is_busy = LATER.try_with(|later| replace(&mut later.borrow_mut().is_busy, true));
        // Not `then_some`: a turn which is made ends one.
        (is_busy != Ok(true)).then(|| Turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let left = LATER.try_with(|later| {
            let mut later = later.borrow_mut();
            later.is_busy = false;
            // Not an empty one: that would be dropped at a price.
            (!later.errands.is_empty()).then(|| take(&mut later.errands))
        });
        drop(left);
    }
}

impl Errand {
    fn carry_out(self, pool: &Shared) {
        match self {
            Errand::Drop(connection) => drop(connection),
            Errand::Wake(waker) => waker.wake(),
            Errand::Dial(dialling) => dialling.start(pool),
            Errand::Watch => janitor::start(pool),
            Errand::LetGo(pool) => drop(pool),
        }
    }
}
