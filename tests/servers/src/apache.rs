//! Apache's httpd, in front of another server.

use std::{
    env, fs, io,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use crate::{Server, folder, process::Process, unexpected};

/// How often another port is tried when somebody was quicker.
const TRIES: usize = 5;
/// Where Debian puts what httpd loads.
const MODULES: &str = "/usr/lib/apache2/modules";

/// Starts Apache in front of `origin`, or says that it is left out and returns `None`:
///
/// | request | response |
/// |---|---|
/// | `ANY /origin/…` | what `origin` says to `/…`, interim responses included |
/// | `POST /echo` | the body |
/// | `POST /small` | the body, or 413 if it has more than 1000 bytes |
///
/// # Panics
///
/// If it does not start, and nobody has said in `HTTPCORE_LEFT_OUT` that it would not.
pub fn require_apache(origin: &Server) -> Option<Server> {
    let left_out = env::var("HTTPCORE_LEFT_OUT").unwrap_or_default();
    if left_out.split(',').any(|name| name == "apache") {
        let _ = writeln!(io::stdout(), "LEFT OUT: apache is not here");
        return None;
    }
    match start(origin) {
        Ok(server) => Some(server),
        Err(error) => {
            panic!("apache does not start: {error}\n`cargo xtask interop` installs what is missing")
        }
    }
}

fn start(origin: &Server) -> io::Result<Server> {
    let mut last = unexpected("no port");
    for _ in 0..TRIES {
        match try_start(origin) {
            Err(error) if error.to_string().contains("Address already in use") => last = error,
            other => return other,
        }
    }
    Err(last)
}

fn try_start(origin: &Server) -> io::Result<Server> {
    let folder = folder()?;
    // Apache must be told its port; bound here for a moment, it is most likely still free then.
    let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let config = folder.path().join("apache.conf");
    fs::write(&config, configuration(folder.path(), addr, origin.addr()))?;
    let program = ["/usr/sbin/apache2", "/usr/sbin/httpd"]
        .into_iter()
        .find(|program| Path::new(program).is_file())
        .unwrap_or("apache2");
    let config = config.to_string_lossy();
    let process = Process::start(program, &["-D", "FOREGROUND", "-f", &config])?;
    process.wait_for(|line| line.contains("resuming normal operations").then_some(()))?;
    Ok(Server {
        process,
        addr,
        unix: None,
        folder,
    })
}

fn configuration(folder: &Path, addr: SocketAddr, origin: SocketAddr) -> String {
    let modules: String = [
        "mpm_event",
        "authz_core",
        "env",
        "proxy",
        "proxy_http",
        "reflector",
    ]
    .iter()
    .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
    .collect();
    let folder = folder.display();
    format!(
        "{modules}\
         ServerRoot {folder}\n\
         DefaultRuntimeDir {folder}\n\
         PidFile {folder}/apache.pid\n\
         ErrorLog /dev/stderr\n\
         LogLevel notice\n\
         ServerName localhost\n\
         Listen {addr}\n\
         User nobody\n\
         Group nogroup\n\
         StartServers 1\n\
         KeepAliveTimeout 30\n\
         MaxKeepAliveRequests 0\n\
         SetEnv proxy-interim-response RFC\n\
         ProxyPass /origin/ http://{origin}/\n\
         <Location /echo>\n  SetHandler reflector\n</Location>\n\
         <Location /small>\n  SetHandler reflector\n  LimitRequestBody 1000\n</Location>\n"
    )
}
