//! What the world knows of a timer, or of an attempt to connect or to look up a name.

use std::task::Waker;

use crate::{
    ends::Side,
    event_queue::{At, Key},
};

/// A timer or an attempt that exists.
#[derive(Debug)]
pub(crate) struct TimerEntry {
    pub(crate) what: String,
    pub(crate) is_timer: bool,
    pub(crate) side: Side,
    pub(crate) due: Option<Key>,
    pub(crate) waker: Option<Waker>,
}

impl TimerEntry {
    pub(crate) fn describe(&self) -> String {
        let kind = if self.is_timer { "timer " } else { "" };
        match self.due {
            Some((at, _)) => format!("{kind}{:?}, due at {}", self.what, At(at)),
            None if self.is_timer => format!("{kind}{:?}, not armed", self.what),
            None => format!("{:?}, never answered", self.what),
        }
    }
}
