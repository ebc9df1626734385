//! Running a script on a stream, and reporting mismatches.

use std::{fmt::Write, io, sync::Mutex};

use bytes::Bytes;

use crate::{
    expect::{Piece, Progress, compare, difference, head_faults},
    hosts::ListenAddr,
    listen::ServerHandle,
    net::MockNet,
    progress::{ScriptProgress, State},
    script::{Script, Step},
    server::{ServerStream, find},
    sync::lock,
    text,
};

/// A run of a script on one stream.
pub(crate) struct ScriptRun<'a> {
    name: &'a str,
    /// What both sides have sent, in order.
    past: Vec<(&'static str, Vec<u8>)>,
    total: usize,
    /// Number of bytes read before this step.
    read: usize,
    progress: ScriptProgress,
}

impl<'a> ScriptRun<'a> {
    pub(crate) fn new(name: &'a str, total: usize, progress: ScriptProgress) -> Self {
        ScriptRun {
            name,
            past: Vec::new(),
            total,
            read: 0,
            progress,
        }
    }

    pub(crate) async fn run(mut self, steps: Vec<Step>, mut stream: ServerStream) {
        for (number, step) in steps.into_iter().enumerate() {
            let name = format!("step {} of {}: {}", number + 1, self.total, step.name());
            self.progress.note(State::At(name.clone()));
            match self.step(step, stream, &name).await {
                Some(left) => stream = left,
                None => return,
            }
        }
        self.progress.note(State::Finished);
        self.expect_end(&mut stream, "after the last step: expect the end")
            .await;
    }

    /// Runs one step; returns the stream unless the connection has ended.
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
                self.progress.note(State::Finished);
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
                    self.received(&bytes);
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
            // At once if the beginning differs: the rest may never arrive.
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
                self.received(&head);
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

    fn received(&mut self, bytes: &[u8]) {
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
            text += "nothing had been sent before\n";
        } else {
            text += "what had been sent before (> by the client, < by the server):\n";
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

impl Script {
    /// Plays the script on `stream`, for servers that are functions and use scripts for some of their
    /// connections. `name` is used in messages.
    ///
    /// # Panics
    ///
    /// If the client sends something unexpected.
    pub async fn play(self, name: &str, stream: ServerStream) {
        let play = ScriptRun::new(name, self.steps.len(), ScriptProgress::default());
        play.run(self.steps, stream).await;
    }
}

impl MockNet {
    /// Plays `script` on each connection to `host` and `port`.
    pub fn serve_script(&self, host: &str, port: u16, script: Script) -> ServerHandle {
        let (place, label) = self.place(host, port);
        self.serve_any(place, label, vec![script], true)
    }

    /// Plays the first script on the first connection to `host` and `port`, the second on the second,
    /// and so on; a connection beyond the last script fails the test.
    pub fn serve_scripts(
        &self,
        host: &str,
        port: u16,
        scripts: impl IntoIterator<Item = Script>,
    ) -> ServerHandle {
        let (place, label) = self.place(host, port);
        self.serve_any(place, label, scripts.into_iter().collect(), false)
    }

    pub(crate) fn serve_any(
        &self,
        place: ListenAddr,
        name: String,
        scripts: Vec<Script>,
        again: bool,
    ) -> ServerHandle {
        let label = name.clone();
        let progress = ScriptProgress::of(scripts.len());
        let (next, progress_of_all) = (Mutex::new(0), progress.clone());
        let served = self.listen(place, label, move |stream| {
            let turn = {
                let mut next = lock(&next);
                *next += 1;
                *next - 1
            };
            let place = if again { 0 } else { turn };
            let script = scripts.get(place).cloned();
            let name = format!("{name}, connection {}", turn + 1);
            let progress = progress_of_all.at(place);
            async move {
                let Some(script) = script else {
                    panic!("{name}: no script is left for it");
                };
                let play = ScriptRun::new(&name, script.steps.len(), progress);
                play.run(script.steps, stream).await;
            }
        });
        served.recording(progress)
    }
}
