//! Steps: run one after the other, timed, and summed up at the end.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ChildStdout, Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// What a step comes to: a report, or in a sentence what is wrong.
pub(crate) type Outcome = Result<Report, String>;

/// A step that has passed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// For the summary: counts, mostly.
    pub(crate) note: String,
    /// What was not done, and why.
    pub(crate) left_out: Vec<String>,
}

impl Report {
    pub(crate) fn note(note: impl Into<String>) -> Self {
        Report {
            note: note.into(),
            left_out: Vec::new(),
        }
    }

    /// Says at once what is left out, and again in the summary.
    pub(crate) fn leave_out(&mut self, what: impl Into<String>) {
        let what = what.into();
        eprintln!("\n    LEFT OUT: {what}\n");
        self.left_out.push(what);
    }
}

pub(crate) struct Step<'a> {
    name: &'static str,
    run: Box<dyn Fn() -> Outcome + 'a>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(name: &'static str, run: impl Fn() -> Outcome + 'a) -> Self {
        Step {
            name,
            run: Box::new(run),
        }
    }
}

/// Runs every step, even after one has failed, and sums up.
pub(crate) fn run(steps: &[Step<'_>]) -> ExitCode {
    let results: Vec<_> = steps
        .iter()
        .map(|step| {
            println!("\n==> {}", step.name);
            let start = now();
            let outcome = (step.run)();
            if let Err(error) = &outcome {
                eprintln!("\nerror: {}: {error}", step.name);
            }
            (step.name, start.elapsed(), outcome)
        })
        .collect();
    let _ = std::io::stderr().flush();
    print!("\n{}", summary(&results));
    if results.iter().all(|(_, _, outcome)| outcome.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn summary(results: &[(&str, Duration, Outcome)]) -> String {
    let mut text = String::new();
    for (name, time, outcome) in results {
        let (verdict, note) = match outcome {
            Ok(report) => ("passed", report.note.as_str()),
            Err(error) => ("FAILED", error.lines().next().unwrap_or("")),
        };
        let seconds = time.as_secs_f64();
        let line = format!("{name:<8} {verdict} {seconds:>7.1} s  {note}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for (name, _, outcome) in results {
        for what in outcome.iter().flat_map(|report| &report.left_out) {
            text.push_str(&format!("LEFT OUT in {name}: {what}\n"));
        }
    }
    text
}

/// The only look at a clock: how long steps take is for people to read.
#[expect(clippy::disallowed_methods, reason = "no runtime is under test here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest.parent().map_or(manifest.clone(), Path::to_owned)
}

/// The folder for what is built, which the caller may have moved.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// `cargo`, in the workspace's folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root());
    // What cargo told us about this package. Build scripts ask for it (that of ring does), and
    // whatever rests on them would be built anew each time it differs.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// `program` by its whole path, if it can be found.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Servers live where the PATH of an ordinary user does not lead.
    env::split_paths(&path)
        .chain(["/usr/local/sbin".into(), "/usr/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Runs `command` to its end, its output going where ours goes.
pub(crate) fn execute(command: &mut Command) -> Result<(), String> {
    println!("    {}", show(command));
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("{} does not start: {error}", show(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}`: {status}", show(command)))
    }
}

/// Runs `command` and returns what it printed, its errors going where ours go.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{} does not start: {error}", show(command)))?;
    if !output.status.success() {
        return Err(format!("`{}`: {}", show(command), output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{}`: not text", show(command)))
}

/// Runs `command`, passing on each line it prints and showing it to `see`. If it prints nothing
/// for `patience`, it is ended, and so is what it has started: a test that hangs is a failure, and
/// not the end of the run.
pub(crate) fn watch(
    command: &mut Command,
    patience: Duration,
    mut see: impl FnMut(&str),
) -> Result<(), String> {
    let shown = show(command);
    println!("    {shown}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("`{shown}` does not start: {error}"))?;
    let lines = lines(child.stdout.take());
    let is_silent = loop {
        match lines.recv_timeout(patience) {
            Ok(line) => {
                println!("{line}");
                see(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if is_silent {
        end(child.id());
    }
    let status = child
        .wait()
        .map_err(|error| format!("`{shown}`: {error}"))?;
    if is_silent {
        let seconds = patience.as_secs_f64();
        Err(format!("`{shown}` hung: it said nothing for {seconds} s"))
    } else if status.success() {
        Ok(())
    } else {
        Err(format!("`{shown}`: {status}"))
    }
}

fn lines(stdout: Option<ChildStdout>) -> Receiver<String> {
    let (sender, lines) = channel();
    // Not joined: should something that was not ended hold the pipe, it would be waited for.
    thread::spawn(move || {
        for line in stdout
            .into_iter()
            .flat_map(|stdout| BufReader::new(stdout).lines())
        {
            let line = line.unwrap_or_else(|error| format!("(unreadable: {error})"));
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Ends the process `id`, and those it has started, and so on.
fn end(id: u32) {
    for child in children(id) {
        end(child);
    }
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(id, Signal::KILL);
    }
}

fn children(id: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let with_parent = processes.filter_map(|process| {
        let child: u32 = process.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        // The name, in brackets, may contain anything: what is wanted comes behind it.
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
        Some((child, parent.parse::<u32>().ok()?))
    });
    with_parent
        .filter(|(_, parent)| *parent == id)
        .map(|(child, _)| child)
        .collect()
}

fn show(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name();
    let mut words = vec![name.unwrap_or(command.get_program()).to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Read};

    #[test]
    fn the_summary_names_failures_and_what_was_left_out() {
        let second = Duration::from_secs(1);
        let partly = Report {
            note: "3 passed".into(),
            left_out: vec!["nginx: not root".into()],
        };
        let results = [
            ("test", second, Ok(partly)),
            ("lint", second, Err("two\nlines".into())),
        ];
        assert_eq!(
            summary(&results),
            "test     passed     1.0 s  3 passed\n\
             lint     FAILED     1.0 s  two\n\
             LEFT OUT in test: nginx: not root\n"
        );
    }

    #[test]
    fn what_hangs_is_ended_with_what_it_has_started() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 3600 & wait"]).stderr(writer);
        let result = watch(&mut command, Duration::from_secs(1), |_| ());
        assert!(result.unwrap_err().contains("hung"));
        drop(command); // and its end of the pipe
        // The end comes when nobody holds the pipe any more: in an hour, if anybody was spared.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn what_fails_says_so_and_is_not_called_hung() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; exit 3"]);
        let mut said = Vec::new();
        let result = watch(&mut command, Duration::from_secs(60), |line| {
            said.push(line.to_owned());
        });
        assert_eq!(said, ["one"]);
        assert!(result.unwrap_err().ends_with("exit status: 3"));
    }
}
