//! Playing a table: doing its steps on a stream, and saying what was not as expected.

use std::{
    fmt::Write,
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use crate::{
    expect::{Piece, Progress, compare, difference, head_faults},
    script::Step,
    server::{ServerStream, find},
    text,
    world::lock,
};

/// A table being played.
pub(crate) struct Play<'a> {
    name: &'a str,
    /// What has been said, in the order in which it was.
    past: Vec<(&'static str, Vec<u8>)>,
    total: usize,
    /// How many bytes had been read before this step.
    read: usize,
    record: Record,
}

impl<'a> Play<'a> {
    pub(crate) fn new(name: &'a str, total: usize, record: Record) -> Self {
        Play {
            name,
            past: Vec::new(),
            total,
            read: 0,
            record,
        }
    }

    pub(crate) async fn run(mut self, steps: Vec<Step>, mut stream: ServerStream) {
        for (number, step) in steps.into_iter().enumerate() {
            let name = format!("step {} of {}: {}", number + 1, self.total, step.name());
            self.record.note(State::At(name.clone()));
            match self.step(step, stream, &name).await {
                Some(left) => stream = left,
                None => return,
            }
        }
        self.record.note(State::Played);
        self.expect_end(&mut stream, "after the last step: expect the end")
            .await;
    }

    /// Does one step, and leaves the stream unless the connection is over.
    async fn step(
        &mut self,
        step: Step,
        mut stream: ServerStream,
        name: &str,
    ) -> Option<ServerStream> {
        let done: io::Result<()> = match step {
            Step::Expect(pattern) => self.expect(&mut stream, &pattern, name).await,
            Step::ExpectRequest { start, fields } => {
                self.expect_request(&mut stream, &start, &fields, name)
                    .await
            }
            Step::ExpectEnd => {
                self.expect_end(&mut stream, name).await;
                Ok(())
            }
            Step::Send(bytes) => {
                self.past.push(("<", bytes.to_vec()));
                stream.write_all(&bytes).await
            }
            Step::Wait(duration) => {
                stream.sleep(duration).await;
                Ok(())
            }
            Step::HalfClose => stream.close_write().await,
            Step::StartTls(server) => {
                return stream.accept_tls(&server).await.ok();
            }
            Step::Close | Step::Reset | Step::Stall => {
                self.record.note(State::Played);
                match step {
                    Step::Reset => stream.reset(),
                    Step::Stall => stream.stall().await,
                    _ => stream.close(),
                }
                return None;
            }
        };
        done.is_ok().then_some(stream)
    }

    async fn expect(
        &mut self,
        stream: &mut ServerStream,
        pattern: &[Piece],
        name: &str,
    ) -> io::Result<()> {
        loop {
            match compare(pattern, stream.buffered()) {
                Progress::Complete(count) => {
                    let bytes = stream.read_exact(count).await?;
                    self.heard(&bytes);
                    return Ok(());
                }
                Progress::More => {
                    if stream.fill().await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Progress::Differs { got, expected } => {
                    let both = difference(pattern, stream.buffered(), got, expected);
                    self.mismatch(name, got, &both);
                }
            }
        }
    }

    async fn expect_request(
        &mut self,
        stream: &mut ServerStream,
        start: &str,
        fields: &[(String, String)],
        name: &str,
    ) -> io::Result<()> {
        let begin = [Piece::Exactly(Bytes::from(format!("{start} ")))];
        loop {
            stream.forbid_tls();
            // At once, if the beginning is wrong already: the rest may never come.
            if let Progress::Differs { got, expected } = compare(&begin, stream.buffered()) {
                let both = difference(&begin, stream.buffered(), got, expected);
                self.mismatch(name, got, &both);
            }
            if let Some(end) = find(stream.buffered(), b"\r\n\r\n") {
                let head = stream.read_exact(end + 4).await?;
                let faults = head_faults(&head, start, fields);
                if !faults.is_empty() {
                    let mut text = format!("  {}\n  the head was:\n", faults.join("\n  "));
                    indent(&mut text, &head);
                    self.mismatch(name, 0, &text);
                }
                self.heard(&head);
                return Ok(());
            }
            if stream.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn expect_end(&mut self, stream: &mut ServerStream, name: &str) {
        if stream.buffered().is_empty() && !matches!(stream.fill().await, Ok(1..)) {
            return;
        }
        let both = difference(&[], stream.buffered(), 0, 0);
        self.mismatch(name, 0, &both);
    }

    fn heard(&mut self, bytes: &[u8]) {
        self.read += bytes.len();
        self.past.push((">", bytes.to_vec()));
    }

    fn mismatch(&self, step: &str, at: usize, both: &str) -> ! {
        let mut text = format!("{}, {step}\n", self.name);
        let _ = writeln!(
            text,
            "not as expected at byte {at} of the step, byte {} of the connection",
            self.read + at
        );
        text += both;
        if self.past.is_empty() {
            text += "nothing had been said before\n";
        } else {
            text += "what had been said before (> by the client, < by the server):\n";
        }
        for (sign, bytes) in &self.past {
            for line in text::lines(bytes) {
                let _ = writeln!(text, "{}", format!("  {sign} {line}").trim_end());
            }
        }
        panic!("{text}");
    }
}

fn indent(text: &mut String, bytes: &[u8]) {
    for line in text::lines(bytes) {
        let _ = writeln!(text, "{}", format!("    {line}").trim_end());
    }
}

/// How far the tables of a server have been played, one entry for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    tables: Arc<Mutex<Vec<State>>>,
    /// Which of them is being played.
    this: usize,
}

#[derive(Clone, Debug)]
enum State {
    Unasked,
    At(String),
    Played,
}

impl Record {
    pub(crate) fn of(tables: usize) -> Self {
        Record {
            tables: Arc::new(Mutex::new(vec![State::Unasked; tables])),
            this: 0,
        }
    }

    /// The same record, for who plays the table at `this`.
    pub(crate) fn at(&self, this: usize) -> Self {
        Record {
            tables: self.tables.clone(),
            this,
        }
    }

    fn note(&self, state: State) {
        if let Some(entry) = lock(&self.tables).get_mut(self.this) {
            *entry = state;
        }
    }

    pub(crate) fn remaining(&self) -> Vec<String> {
        let states = lock(&self.tables);
        let describe = |(n, state): (usize, &State)| match state {
            State::Played => None,
            State::Unasked => Some(format!("table {}: no connection came for it", n + 1)),
            State::At(step) => Some(format!("table {}: got no further than {step}", n + 1)),
        };
        states.iter().enumerate().filter_map(describe).collect()
    }
}
