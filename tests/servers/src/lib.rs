//! Real servers, started for one test and ended with it.
//!
//! Each server is a child process in a process group of its own, serving on an ephemeral port of
//! 127.0.0.1 and, where it can, on a Unix socket. It is ready once it has said so in its log: no
//! test sleeps, and a server that dies instead ends the waiting at once. Dropping a [`Server`]
//! kills its group and removes its folder; should the test itself be killed, the kernel ends the
//! server when `setpriv` is there to arrange that.
//!
//! ```no_run
//! use httpcore_servers::{Kind, require};
//!
//! let Some(nginx) = require(Kind::Nginx) else {
//!     return; // left out, and that has been said
//! };
//! println!("{}", nginx.url("/hello.txt"));
//! ```

#![forbid(unsafe_code)]

mod apache;
pub mod client;
mod front;
mod left_out;
mod nghttpd;
mod nginx;
mod node;
mod port;
mod process;
mod proxies;
mod python;
mod talk;
mod tls;

use std::{
    env, fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use apache::require_apache;
pub use front::{Door, Front};
use httpcore_origin::Origin;
pub use nghttpd::require_nghttpd;
pub use nginx::require_nginx_http2;
use process::Process;
use rustix::process::Signal;
pub use talk::{Talker, require_talker, start_talker_again};
use tempfile::TempDir;
pub use tls::{Authority, require_nginx_tls, require_openssl, require_openssl_files};

/// The servers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx, with static files of several sizes, and `PUT` under `/upload/`:
    ///
    /// | request | response |
    /// |---|---|
    /// | `GET /hello.txt` | `Hello from nginx!` |
    /// | `GET /empty`, `/kib`, `/mib` | zero bytes of that number |
    /// | `GET /256mib` | that many zero bytes, from a file with no blocks |
    /// | `GET /chunked/…` | the same files and `tail`, chunked |
    /// | `PUT /upload/NAME` | 201 or 204; the file then lies in [`Server::uploads`] |
    /// | `ANY /what` | method and length of the request |
    /// | `GET /no-content` | 204 |
    /// | `GET /last` | an answer with `Connection: close` |
    /// | `GET /brief` | an answer, and a close after a second of silence |
    /// | `GET /twenty` | an answer, and a close if it is the connection's twentieth |
    Nginx,
    /// `python3 -m http.server`: HTTP/1.0, with `/hello.txt` and `/mib`.
    HttpServer,
    /// gunicorn with httpbin.
    Httpbin,
    /// Node's `http`; its routes are in `node.mjs`.
    Node,
}

/// A server that is running.
#[derive(Debug)]
pub struct Server {
    // In this order: the process ends before its folder goes.
    process: Process,
    addr: SocketAddr,
    unix: Option<PathBuf>,
    folder: TempDir,
    /// What it stands before, if that is ours.
    origin: Option<Origin>,
}

impl Kind {
    /// What `HTTPCORE_LEFT_OUT` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::HttpServer => "http.server",
            Kind::Httpbin => "httpbin",
            Kind::Node => "node",
        }
    }
}

/// Starts a server, or says that it is left out and returns `None`.
///
/// # Panics
///
/// If it does not start, and `HTTPCORE_LEFT_OUT` does not name it.
pub fn require(kind: Kind) -> Option<Server> {
    left_out::or_start(kind.name(), || start(kind))
}

/// Starts a server.
///
/// # Errors
///
/// If its program is missing or ends before it is ready; its log is in the error.
pub fn start(kind: Kind) -> io::Result<Server> {
    match kind {
        Kind::Nginx => nginx::start(),
        Kind::HttpServer => python::http_server(),
        Kind::Httpbin => python::httpbin(),
        Kind::Node => node::start(),
    }
}

impl Server {
    /// A server with nothing beside its TCP address.
    fn new(process: Process, addr: SocketAddr, folder: TempDir) -> Self {
        Server {
            process,
            addr,
            unix: None,
            folder,
            origin: None,
        }
    }

    fn with_unix(mut self, path: PathBuf) -> Self {
        self.unix = Some(path);
        self
    }

    fn before(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The TCP address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL of `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The same over TLS.
    pub fn https_url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// The Unix socket, where the server has one.
    pub fn unix_socket(&self) -> Option<&Path> {
        self.unix.as_deref()
    }

    /// Where it has its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where nginx puts what is uploaded.
    pub fn uploads(&self) -> PathBuf {
        self.folder.path().join("uploads/upload")
    }

    /// The process id, which is that of its group too.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The origin behind it, if that is ours.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Who can have nginx replace its worker, from wherever.
    pub fn reloader(&self) -> Reloader {
        Reloader(self.id())
    }

    /// What the server has said so far, or the end of it.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// Has nginx replace its worker, as after a change of its configuration: the old one closes, or sends GOAWAY to,
/// its connections, and goes on with what is under way. For nginx as a server of HTTP/2 only.
#[derive(Clone, Copy, Debug)]
pub struct Reloader(u32);

impl Reloader {
    /// Does it. The server must still be there.
    ///
    /// # Errors
    ///
    /// If there is no such process any more.
    pub fn reload(self) -> io::Result<()> {
        process::signal(self.0, Signal::HUP)
    }
}

/// The folder `cargo xtask interop` keeps things in.
fn interop_folder() -> PathBuf {
    env::var_os("HTTPCORE_INTEROP").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/interop"),
        PathBuf::from,
    )
}

fn folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("httpcore-").tempdir()
}

fn unexpected(what: impl fmt::Display) -> io::Error {
    io::Error::other(what.to_string())
}
