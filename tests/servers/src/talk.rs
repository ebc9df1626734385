//! Servers that go on talking: WebSockets and Server-Sent Events.

use std::{fs, io, net::Ipv4Addr};

use crate::{Door, Server, folder, interop_folder, left_out, port, process::Process, python};

/// A server of WebSockets, of events, or of both. Their routes are in `talk.py` and `talk.mjs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talker {
    /// The Python package websockets.
    Websockets,
    /// Hypercorn, with WebSockets over HTTP/2 too, and events.
    Hypercorn,
    /// uvicorn, with events.
    Uvicorn,
    /// Node with the package ws, and events.
    Node,
    /// The fuzzing server of the Autobahn test suite, which runs on Python 2.7 alone. It leaves its
    /// judgment in [`Server::folder`]`/reports/index.json`.
    Autobahn,
}

impl Talker {
    /// What `HTTPCORE_LEFT_OUT` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Talker::Websockets => "websockets",
            Talker::Hypercorn => "hypercorn",
            Talker::Uvicorn => "uvicorn",
            Talker::Node => "ws",
            Talker::Autobahn => "autobahn",
        }
    }
}

/// Starts one, or says that it is left out and returns `None`. Only Hypercorn has a door with TLS.
///
/// # Panics
///
/// If it does not start, and `HTTPCORE_LEFT_OUT` does not name it.
pub fn require_talker(talker: Talker, door: Door<'_>) -> Option<Server> {
    left_out::or_start(talker.name(), || start(talker, door, 0))
}

/// Starts one at a port that has been its before.
///
/// # Errors
///
/// If its program is missing or ends before it is ready.
///
/// # Panics
///
/// For any but [`Talker::Node`]: the others are started on a port of their choice.
pub fn start_talker_again(talker: Talker, port: u16) -> io::Result<Server> {
    assert_eq!(talker, Talker::Node, "one is enough");
    start(talker, Door::Plain, port)
}

fn start(talker: Talker, door: Door<'_>, port: u16) -> io::Result<Server> {
    let folder = folder()?;
    let application = folder.path().join("talk.py");
    fs::write(&application, include_str!("talk.py"))?;
    let application = application.to_string_lossy().into_owned();
    let program = |name: &str| {
        let program = interop_folder().join("venv/bin").join(name);
        program.to_string_lossy().into_owned()
    };
    match talker {
        Talker::Hypercorn => python::hypercorn_with(&application, door, folder),
        Talker::Websockets => {
            let process = Process::start(&program("python"), &[&application])?;
            ready(process, folder)
        }
        Talker::Uvicorn => {
            let apps = folder.path().to_string_lossy().into_owned();
            let arguments = ["--port", "0", "--app-dir", &apps, "talk:application"];
            let process = Process::start(&program("uvicorn"), &arguments)?;
            // INFO:     Uvicorn running on http://127.0.0.1:43211 (Press CTRL+C to quit)
            let running =
                |line: &str| line.contains("running on").then(|| python::address(line))?;
            let addr = process.wait_for(running)?;
            Ok(Server::new(process, addr, folder))
        }
        Talker::Autobahn => autobahn(folder),
        Talker::Node => {
            let script = folder.path().join("talk.mjs");
            fs::write(&script, include_str!("talk.mjs"))?;
            let packages = interop_folder().join("node");
            let packages = packages.canonicalize().unwrap_or(packages);
            let arguments = [
                script.to_string_lossy().into_owned(),
                packages.to_string_lossy().into_owned(),
                port.to_string(),
            ];
            let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
            ready(Process::start("node", &arguments)?, folder)
        }
    }
}

/// Every case but those of compression, which is not offered.
fn autobahn(folder: tempfile::TempDir) -> io::Result<Server> {
    let packages = interop_folder().join("autobahn");
    let packages = packages.canonicalize().unwrap_or(packages);
    let wstest = packages.join("bin/wstest").to_string_lossy().into_owned();
    let path = format!("PYTHONPATH={}", packages.display());
    let (process, addr) = port::on_a_free_one(|addr| {
        let spec = folder.path().join("spec.json");
        let reports = folder.path().join("reports");
        fs::write(
            &spec,
            format!(
                r#"{{"url": "ws://{addr}", "outdir": "{}", "cases": ["*"],
                    "exclude-cases": ["12.*", "13.*"], "exclude-agent-cases": {{}}}}"#,
                reports.display()
            ),
        )?;
        let spec = spec.to_string_lossy();
        let interpreter = interop_folder().join("python2.7");
        let interpreter = interpreter.to_string_lossy();
        let arguments = [&path, &*interpreter, "-u", &wstest];
        let mode = ["-m", "fuzzingserver", "-w", "0", "-s", &spec];
        let process = Process::start("env", &[&arguments[..], &mode].concat())?;
        process.wait_for(|line| line.starts_with("Ok, will run").then_some(()))?;
        Ok((process, addr))
    })?;
    Ok(Server::new(process, addr, folder))
}

fn ready(process: Process, folder: tempfile::TempDir) -> io::Result<Server> {
    let port: u16 = process.wait_for(|line| line.strip_prefix("ready ")?.parse().ok())?;
    Ok(Server::new(
        process,
        (Ipv4Addr::LOCALHOST, port).into(),
        folder,
    ))
}
