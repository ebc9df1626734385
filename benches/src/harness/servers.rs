//! The servers of the benchmarks: the responder, and nginx if it is installed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
};

use super::{counters::bound_to_parent, workloads::LARGE};
use xtask::steps::find;

/// The processors of servers and of clients, so that neither takes time from the other.
pub(crate) const SERVERS: &str = "1";
pub(crate) const CLIENTS: &str = "0";

/// A server process. It ends when its pipe is closed or this value is dropped.
pub(crate) struct Server {
    child: Child,
    is_killed: bool,
    /// Kept open: a process that writes into a closed pipe is killed.
    _stderr: Option<BufReader<ChildStderr>>,
    /// Its addresses, by the name of the protocol.
    pub(crate) ports: BTreeMap<String, String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if self.is_killed {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Returns a command that runs `program` on the servers' processor, if there are two processors.
fn pinned(program: &Path) -> Command {
    let is_alone = std::thread::available_parallelism().is_ok_and(|count| count.get() < 2);
    match find("taskset") {
        Some(taskset) if !is_alone => {
            let mut command = bound_to_parent(&taskset);
            command.args(["-c", SERVERS]).arg(program);
            command
        }
        _ => bound_to_parent(program),
    }
}

/// Starts the responder, which writes its certificates into `folder`.
pub(crate) fn responder(release: &Path, folder: &Path) -> Result<Server, String> {
    let program = release.join("responder");
    let mut child = pinned(&program)
        .arg(folder)
        .arg(LARGE.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    let ports = serde_json::from_str(&line);
    let server = Server {
        child,
        is_killed: false,
        _stderr: None,
        ports: ports.unwrap_or_default(),
    };
    if server.ports.is_empty() {
        return Err("the responder printed no addresses".into());
    }
    Ok(server)
}

/// Starts nginx with the responder's certificate.
pub(crate) fn nginx(folder: &Path) -> Result<Server, String> {
    let program = find("nginx").ok_or("not installed")?;
    let at: PathBuf = folder.join("nginx");
    fs::create_dir_all(at.join("www/bytes")).map_err(|error| error.to_string())?;
    let failed = |error: std::io::Error| error.to_string();
    fs::write(at.join("www/hello"), "Hello, world!\n").map_err(failed)?;
    let large = File::create(at.join("www/bytes").join(LARGE.to_string()));
    large.and_then(|file| file.set_len(LARGE)).map_err(failed)?;
    // nginx needs its ports in advance. They are bound here for a moment, and very likely still free later.
    let port = || {
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        addr.map(|addr| addr.to_string()).map_err(failed)
    };
    let (h1, https) = (port()?, port()?);
    let (place, keys) = (at.to_string_lossy(), folder.to_string_lossy());
    // One process, so that the started process is the one that is ended.
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {place}/nginx.pid;\nerror_log stderr notice;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n    access_log off;\n    sendfile on;\n    keepalive_requests 100000000;\n    \
         client_body_temp_path {place}/body;\n    proxy_temp_path {place}/proxy;\n    \
         fastcgi_temp_path {place}/fastcgi;\n    uwsgi_temp_path {place}/uwsgi;\n    \
         scgi_temp_path {place}/scgi;\n    server {{\n        listen {h1};\n        \
         listen {https} ssl;\n        ssl_certificate {keys}/cert.pem;\n        \
         ssl_certificate_key {keys}/key.pem;\n        root {place}/www;\n        \
         # Does not wait: nothing that is counted here depends on the barrier.\n        \
         location /barrier/ {{ return 200 ok; }}\n    }}\n}}\n"
    );
    let file = at.join("nginx.conf");
    fs::write(&file, configuration).map_err(failed)?;
    let mut child = pinned(&program)
        .args(["-e", "stderr", "-p"])
        .arg(&at)
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let stderr = child.stderr.take();
    let mut server = Server {
        child,
        is_killed: true,
        _stderr: None,
        ports: [("h1".to_owned(), h1), ("https".to_owned(), https)].into(),
    };
    let mut stderr = BufReader::new(stderr.ok_or("no output")?);
    let (mut line, mut last) = (String::new(), String::new());
    while stderr.read_line(&mut line).map_err(failed)? > 0 {
        // Printed when the events are set up, after the sockets listen.
        if line.contains("event method") {
            server._stderr = Some(stderr);
            return Ok(server);
        }
        last = std::mem::take(&mut line);
    }
    Err(format!("nginx ended: {}", last.trim_end()))
}
