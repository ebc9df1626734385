//! Live counts, and the report on what every task of a world waits for.

use std::task::Waker;

use crate::{
    connection::Connection,
    ends::{Direction, End, Side},
    event_queue::At,
    world::{State, World},
};

/// What the code under test holds at one moment.
///
/// Whatever belongs to the world's servers (their tasks, their ends of streams, the timers on
/// which they sleep) is not counted: it goes away when it notices that the other side has, which
/// may take until a later instant of virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveCounts {
    /// Tasks spawned, and not yet over. The future given to [`run`](crate::MockNet::run) is none.
    pub tasks: usize,
    /// Client's ends of connections, not yet dropped.
    pub streams: usize,
    /// Timers which are armed.
    pub timers: usize,
    /// Names being looked up, and connections being made.
    pub attempts: usize,
}

impl World {
    /// Returns a report on everything that exists, introduced by `opening`.
    pub(crate) fn report(&self, opening: &str) -> String {
        let main = self.main_waker();
        self.with(|state, _| {
            let seed = match state.rng.seed() {
                Some(seed) => format!(" (seed {seed})"),
                None => String::new(),
            };
            format!(
                "{opening}{seed}, at {}\n{}",
                At(state.event_queue.now()),
                state.report(main.as_ref())
            )
        })
    }
}

impl State {
    pub(crate) fn live_counts(&self) -> LiveCounts {
        let ours = |side: &Side| *side == Side::Client;
        let waits = |timers: bool| {
            self.timers
                .values()
                .filter(move |timer| ours(&timer.side) && timer.is_timer == timers)
        };
        LiveCounts {
            tasks: self.tasks.values().filter(|task| ours(&task.side)).count(),
            streams: self
                .connections
                .values()
                .filter(|one| ours(&one.made_by) && one.is_held(End::Client))
                .count(),
            timers: waits(true).filter(|timer| timer.due.is_some()).count(),
            attempts: waits(false).count(),
        }
    }

    /// Everything the live counts count, by name; with or without timers which are not armed.
    pub(crate) fn live(&self, unarmed: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for task in self.tasks.values() {
            if task.side == Side::Client {
                lines.push(format!("task {:?}", task.name));
            }
        }
        for (id, one) in &self.connections {
            if one.made_by == Side::Client && one.is_held(End::Client) {
                lines.push(format!("stream #{id} {}", one.label));
            }
        }
        for timer in self.timers.values() {
            let counts = unarmed || !timer.is_timer || timer.due.is_some();
            if timer.side == Side::Client && counts {
                lines.push(timer.describe());
            }
        }
        lines
    }

    /// Everything there is, and what each waits for. `main` is the main future's waker, if there
    /// is such a future.
    pub(crate) fn report(&self, main: Option<&Waker>) -> String {
        let mut lines = Vec::new();
        if let Some(waker) = main {
            lines.push("the main future waits".to_owned());
            lines.extend(self.waits_of(waker));
        }
        for task in self.tasks.values() {
            let whose = match task.side {
                Side::Client => "",
                Side::Server => " (server)",
            };
            lines.push(format!("task {:?}{whose} waits", task.name));
            lines.extend(task.waker.iter().flat_map(|waker| self.waits_of(waker)));
        }
        for (id, one) in &self.connections {
            lines.push(format!("stream #{id} {}", one.label));
            for direction in [Direction::ToServer, Direction::ToClient] {
                lines.push(format!("  {}", describe_pipe(one, direction)));
            }
        }
        for timer in self.timers.values() {
            lines.push(timer.describe());
        }
        lines.join("\n")
    }
}

impl State {
    /// Describes what would call `waker`.
    fn waits_of(&self, waker: &Waker) -> Vec<String> {
        let waits = self.timers.values();
        let waits =
            waits.filter(|timer| timer.waker.as_ref().is_some_and(|it| it.will_wake(waker)));
        let mut lines: Vec<_> = waits
            .map(|timer| format!("  for {}", timer.describe()))
            .collect();
        for (id, one) in &self.connections {
            for pipe in one.pipes() {
                let to_read = pipe.reader().map(|it| (it, "to read from"));
                let to_write = pipe.writer().map(|it| (it, "to write to"));
                for (parked, what) in to_read.into_iter().chain(to_write) {
                    if parked.will_wake(waker) {
                        lines.push(format!("  {what} stream #{id} {}", one.label));
                    }
                }
            }
        }
        for (id, stalled) in &self.stalls {
            if stalled.will_wake(waker) {
                lines.push(format!(
                    "  for nothing: it stalls on stream #{id}, as scripted"
                ));
            }
        }
        if lines.is_empty() {
            lines.push("  for nothing of this world's: a wake-up was lost, or never meant".into());
        }
        lines
    }
}

fn describe_pipe(one: &Connection, direction: Direction) -> String {
    let pipe = &one.pipes()[direction.index()];
    let (writer, reader) = match direction {
        Direction::ToServer => ("client", "server"),
        Direction::ToClient => ("server", "client"),
    };
    let (sent, received) = pipe.counts();
    let mut line = format!("{writer} -> {reader}: {sent} bytes written, {received} read");
    if pipe.reader().is_some() {
        line += &format!("; {reader} waits to read");
    }
    if pipe.writer().is_some() {
        line += &format!("; {writer} waits for room to write");
    }
    line
}
