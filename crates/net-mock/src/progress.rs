//! How far scripts have been played.

use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// How far the tables of a server have been played, one entry for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScriptProgress {
    tables: Arc<Mutex<Vec<State>>>,
    /// Which of them is being played.
    this: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum State {
    NotStarted,
    At(String),
    Finished,
}

impl ScriptProgress {
    pub(crate) fn of(tables: usize) -> Self {
        ScriptProgress {
            tables: Arc::new(Mutex::new(vec![State::NotStarted; tables])),
            this: 0,
        }
    }

    /// The same progress, for who plays the table at `this`.
    pub(crate) fn at(&self, this: usize) -> Self {
        ScriptProgress {
            tables: self.tables.clone(),
            this,
        }
    }

    pub(crate) fn note(&self, state: State) {
        if let Some(entry) = lock(&self.tables).get_mut(self.this) {
            *entry = state;
        }
    }

    pub(crate) fn remaining(&self) -> Vec<String> {
        let states = lock(&self.tables);
        let describe = |(n, state): (usize, &State)| match state {
            State::Finished => None,
            State::NotStarted => Some(format!("table {}: no connection came for it", n + 1)),
            State::At(step) => Some(format!("table {}: got no further than {step}", n + 1)),
        };
        states.iter().enumerate().filter_map(describe).collect()
    }
}
