//! A child process: its log, its readiness, its end.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long a server may take to be ready: a bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of the log is kept, in bytes.
const LOG_LIMIT: usize = 64 << 10;

pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    lines: Receiver<String>,
    readers: Vec<JoinHandle<()>>,
}

/// Whether the kernel can be told to end a child with its parent: without `unsafe` that takes a
/// program between the two.
static HAS_SETPRIV: LazyLock<bool> = LazyLock::new(|| {
    Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "true"])
        .output()
        .is_ok_and(|output| output.status.success())
});

impl Process {
    /// Starts `program`.
    ///
    /// The kernel ties the child to the *thread* which starts it. That thread must live as long
    /// as the server, and so a server is never shared between tests.
    pub(crate) fn start(program: &str, arguments: &[&str]) -> io::Result<Self> {
        let mut command = if *HAS_SETPRIV {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "TERM", "--", program]);
            command
        } else {
            Command::new(program)
        };
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Workers are ended with their master, however hastily.
            .process_group(0)
            .spawn()?;
        let log = Arc::default();
        let (sender, lines) = channel();
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(read(stdout, &log, sender.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(read(stderr, &log, sender));
        }
        Ok(Process {
            child,
            log,
            lines,
            readers,
        })
    }

    /// Waits for a line in which `find` finds what it looks for.
    ///
    /// # Errors
    ///
    /// With the log, if the process ends before, or takes unreasonably long.
    pub(crate) fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> io::Result<T> {
        loop {
            let what = match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => match find(&line) {
                    Some(found) => return Ok(found),
                    None => continue,
                },
                Err(RecvTimeoutError::Disconnected) => "it ended, having said",
                Err(RecvTimeoutError::Timeout) => "it is not ready, having said",
            };
            return Err(io::Error::other(format!("{what}:\n{}", self.log())));
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Sends a signal to a process, and not to its group.
pub(crate) fn signal(process: u32, signal: Signal) -> io::Result<()> {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| io::Error::other("no such process"))?;
    Ok(kill_process(process, signal)?)
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not reaped before the `wait` below, and so the number is still this group's.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", self.child.id())
    }
}

/// Reads to the end, so that the server never waits for room in the pipe.
fn read(
    stream: impl Read + Send + 'static,
    log: &Arc<Mutex<String>>,
    lines: Sender<String>,
) -> JoinHandle<()> {
    let log = log.clone();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() > LOG_LIMIT {
                log.clear();
            }
            log.push_str(&line);
            log.push('\n');
            drop(log);
            let _ = lines.send(line);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_before_it_is_ready_leaves_its_last_words() {
        let process = Process::start("sh", &["-c", "echo out; echo in vain >&2"]).unwrap();
        let error = process.wait_for(|line| line.contains("ready").then_some(()));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("it ended") && error.contains("in vain"),
            "{error}"
        );
    }

    #[test]
    fn a_group_ends_with_its_value() {
        // The grandchild holds the pipe: unless it ends too, dropping waits for an hour.
        let process = Process::start("sh", &["-c", "sleep 3600 & echo ready; wait"]).unwrap();
        process
            .wait_for(|line| line.contains("ready").then_some(()))
            .unwrap();
        drop(process);
    }
}
