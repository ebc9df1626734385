//! Node's `http`.

use std::{fs, io, net::Ipv4Addr};

use crate::{Server, folder, process::Process};

pub(crate) fn start() -> io::Result<Server> {
    let folder = folder()?;
    let script = folder.path().join("server.mjs");
    fs::write(&script, include_str!("node.mjs"))?;
    let unix = folder.path().join("node.sock");
    let arguments = [script.to_string_lossy(), unix.to_string_lossy()];
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    let process = Process::start("node", &arguments)?;
    let port: u16 = process.wait_for(|line| line.strip_prefix("ready ")?.parse().ok())?;
    Ok(Server {
        process,
        addr: (Ipv4Addr::LOCALHOST, port).into(),
        unix: Some(unix),
        folder,
    })
}
