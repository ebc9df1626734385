//! Apache's httpd, in front of another server.

use std::{fs, io, net::SocketAddr, path::Path};

use httpcore_origin::Origin;

use crate::{Door, Server, folder, left_out, port, process::Process};

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
/// If it does not start, and `HTTPCORE_LEFT_OUT` does not name it.
pub fn require_apache(origin: &Server) -> Option<Server> {
    let lines = format!(
        "ProxyPass /origin/ http://{}/\n\
         <Location /echo>\n  SetHandler reflector\n</Location>\n\
         <Location /small>\n  SetHandler reflector\n  LimitRequestBody 1000\n</Location>\n",
        origin.addr()
    );
    left_out::or_start("apache", || start(&[], &lines))
}

/// As [`Front::Apache`](crate::Front::Apache) says.
pub(crate) fn front(door: Door<'_>, origin: Origin) -> io::Result<Server> {
    let (mut modules, lines) = match door {
        Door::Plain => (Vec::new(), "Protocols h2c http/1.1\n".to_owned()),
        Door::Tls(authority) => (
            vec!["headers", "socache_shmcb", "ssl"],
            format!(
                "Protocols h2 http/1.1\n\
                 SSLEngine on\n\
                 SSLCertificateFile {}\n\
                 SSLCertificateKeyFile {}\n\
                 SSLSessionCache shmcb:sessions\n\
                 Header set x-resumed %{{SSL_SESSION_RESUMED}}s\n",
                authority.certificate().display(),
                authority.key().display()
            ),
        ),
    };
    modules.push("http2");
    let addr = origin.addr();
    let lines = format!("{lines}H2WebSockets on\nProxyPass / http://{addr}/ upgrade=websocket\n");
    Ok(start(&modules, &lines)?.before(origin))
}

fn start(modules: &[&str], lines: &str) -> io::Result<Server> {
    port::on_a_free_one(|addr| {
        let folder = folder()?;
        let config = folder.path().join("apache.conf");
        fs::write(&config, configuration(folder.path(), addr, modules, lines))?;
        let program = ["/usr/sbin/apache2", "/usr/sbin/httpd"]
            .into_iter()
            .find(|program| Path::new(program).is_file())
            .unwrap_or("apache2");
        let config = config.to_string_lossy();
        let process = Process::start(program, &["-D", "FOREGROUND", "-f", &config])?;
        process.wait_for(|line| line.contains("resuming normal operations").then_some(()))?;
        Ok(Server::new(process, addr, folder))
    })
}

fn configuration(folder: &Path, addr: SocketAddr, modules: &[&str], lines: &str) -> String {
    let always = [
        "mpm_event",
        "authz_core",
        "env",
        "proxy",
        "proxy_http",
        "reflector",
    ];
    let modules: String = always
        .iter()
        .chain(modules)
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
         User daemon\n\
         Group nogroup\n\
         StartServers 1\n\
         KeepAliveTimeout 30\n\
         MaxKeepAliveRequests 0\n\
         SetEnv proxy-interim-response RFC\n\
         {lines}"
    )
}
