//! How far scripts have been played.

use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// Progress of the scripts of a server, one entry for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScriptProgress {
    scripts: Arc<Mutex<Vec<State>>>,
    /// Index of the script being played.
    this: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum State {
    NotStarted,
    At(String),
    Finished,
}

impl ScriptProgress {
    pub(crate) fn of(scripts: usize) -> Self {
        ScriptProgress {
            scripts: Arc::new(Mutex::new(vec![State::NotStarted; scripts])),
            this: 0,
        }
    }

    /// The same progress, for the run of the script at index `this`.
    pub(crate) fn at(&self, this: usize) -> Self {
        ScriptProgress {
            scripts: self.scripts.clone(),
            this,
        }
    }

    pub(crate) fn note(&self, state: State) {
        if let Some(entry) = lock(&self.scripts).get_mut(self.this) {
            *entry = state;
        }
    }

    pub(crate) fn remaining(&self) -> Vec<String> {
        let states = lock(&self.scripts);
        let describe = |(n, state): (usize, &State)| match state {
            State::Finished => None,
            State::NotStarted => Some(format!(
                "script {}: not started, since no connection was made",
                n + 1
            )),
            State::At(step) => Some(format!("script {}: stopped at {step}", n + 1)),
        };
        states.iter().enumerate().filter_map(describe).collect()
    }
}
