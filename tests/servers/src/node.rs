//! Node's `http` and `http2`.

use std::{fs, io, net::Ipv4Addr};

use crate::{Door, Server, folder, process::Process};

pub(crate) fn start() -> io::Result<Server> {
    let folder = folder()?;
    let unix = folder.path().join("node.sock");
    let server = run(folder, &["http1", &unix.to_string_lossy()])?;
    Ok(server.with_unix(unix))
}

pub(crate) fn http2(door: Door<'_>) -> io::Result<Server> {
    let folder = folder()?;
    match door {
        Door::Plain => run(folder, &["http2"]),
        Door::Tls(authority) => {
            let certificate = authority.certificate().to_string_lossy();
            run(
                folder,
                &["http2", &certificate, &authority.key().to_string_lossy()],
            )
        }
    }
}

fn run(folder: tempfile::TempDir, arguments: &[&str]) -> io::Result<Server> {
    let script = folder.path().join("server.mjs");
    fs::write(&script, include_str!("node.mjs"))?;
    let script = script.to_string_lossy();
    let arguments: Vec<&str> = [&*script]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let process = Process::start("node", &arguments)?;
    let port: u16 = process.wait_for(|line| line.strip_prefix("ready ")?.parse().ok())?;
    Ok(Server::new(
        process,
        (Ipv4Addr::LOCALHOST, port).into(),
        folder,
    ))
}
