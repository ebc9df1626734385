//! Python's `http.server`, gunicorn with httpbin, and Hypercorn.

use std::{
    fs::{self, File},
    io,
};

use crate::{Door, Server, folder, interop_folder, process::Process};

pub(crate) fn http_server() -> io::Result<Server> {
    let folder = folder()?;
    fs::write(folder.path().join("hello.txt"), "Hello from Python!\n")?;
    File::create(folder.path().join("mib"))?.set_len(1 << 20)?;
    let process = Process::start(
        "python3",
        &[
            "-u",
            "-m",
            "http.server",
            "0",
            "--bind",
            "127.0.0.1",
            "--directory",
            &folder.path().to_string_lossy(),
        ],
    )?;
    // Serving HTTP on 127.0.0.1 port 43211 (http://127.0.0.1:43211/) ...
    let addr = process.wait_for(address)?;
    Ok(Server::new(process, addr, folder))
}

pub(crate) fn httpbin() -> io::Result<Server> {
    let folder = folder()?;
    let unix = folder.path().join("gunicorn.sock");
    let program = interop_folder().join("venv/bin/gunicorn");
    let process = Process::start(
        &program.to_string_lossy(),
        &[
            "--bind",
            "127.0.0.1:0",
            "--bind",
            &format!("unix:{}", unix.display()),
            // The only worker of gunicorn's own which keeps connections.
            "--worker-class",
            "gthread",
            "--threads",
            "8",
            "--keep-alive",
            "30",
            "--worker-tmp-dir",
            &folder.path().to_string_lossy(),
            "--no-control-socket",
            "httpbin:app",
        ],
    )?;
    // Listening at: http://127.0.0.1:43211,unix:/… (1234)
    let addr = process.wait_for(|line| line.contains("Listening at").then(|| address(line))?)?;
    process.wait_for(|line| line.contains("Booting worker").then_some(()))?;
    Ok(Server::new(process, addr, folder).with_unix(unix))
}

/// As [`Front::Hypercorn`](crate::Front::Hypercorn) says; its routes are in `hypercorn.py`.
pub(crate) fn hypercorn(door: Door<'_>) -> io::Result<Server> {
    let folder = folder()?;
    let application = folder.path().join("application.py");
    fs::write(&application, include_str!("hypercorn.py"))?;
    hypercorn_with(&application.to_string_lossy(), door, folder)
}

/// Hypercorn with an application of this file, which lies in `folder`.
pub(crate) fn hypercorn_with(
    application: &str,
    door: Door<'_>,
    folder: tempfile::TempDir,
) -> io::Result<Server> {
    let application = format!("{application}:application");
    let settings = folder.path().join("hypercorn.toml");
    // What can be set in no other way.
    fs::write(&settings, "websocket_max_message_size = 134217728\n")?;
    let settings = settings.to_string_lossy();
    // No workers: one process.
    let mut arguments = vec!["--bind", "127.0.0.1:0", "--workers", "0"];
    arguments.extend(["--config", &settings]);
    let files = match door {
        Door::Plain => None,
        Door::Tls(authority) => Some((
            authority.certificate().to_string_lossy(),
            authority.key().to_string_lossy(),
        )),
    };
    if let Some((certificate, key)) = &files {
        arguments.extend(["--certfile", certificate, "--keyfile", key]);
    }
    arguments.push(&application);
    let program = interop_folder().join("venv/bin/hypercorn");
    let process = Process::start(&program.to_string_lossy(), &arguments)?;
    // [2026-01-31 12:00:00 +0000] [123] [INFO] Running on http://127.0.0.1:43211 (CTRL + C to quit)
    let addr = process.wait_for(|line| line.contains("Running on").then(|| address(line))?)?;
    Ok(Server::new(process, addr, folder))
}

/// The address in the first URL of `line`.
pub(crate) fn address(line: &str) -> Option<std::net::SocketAddr> {
    let (_, rest) = line
        .split_once("http://")
        .or_else(|| line.split_once("https://"))?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_the_servers_say() {
        for line in [
            "Serving HTTP on 127.0.0.1 port 4321 (http://127.0.0.1:4321/) ...",
            "Listening at: http://127.0.0.1:4321,unix:/x/gunicorn.sock (99)",
            "Running on https://127.0.0.1:4321 (CTRL + C to quit)",
            "http://127.0.0.1:4321",
        ] {
            assert_eq!(address(line), "127.0.0.1:4321".parse().ok(), "{line}");
        }
        assert_eq!(address("127.0.0.1:4321"), None);
    }
}
