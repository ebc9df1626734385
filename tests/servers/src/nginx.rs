//! nginx.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::Path,
};

use httpcore_origin::Origin;

use crate::{Authority, Door, Server, folder, left_out, port, process::Process};

/// One process: what is started is what is ended.
const ALONE: &str = "master_process off;\n";
/// Its worker can be replaced while it serves. (Who is not root is told that this means nothing.)
const WITH_A_MASTER: &str = "user root;\n";

pub(crate) fn start() -> io::Result<Server> {
    start_with("", "")
}

/// As [`start`], with this behind the address it listens at, and these lines for its server.
pub(crate) fn start_with(listen: &str, lines: &str) -> io::Result<Server> {
    port::on_a_free_one(|addr| try_start(addr, ALONE, listen, lines))
}

/// Starts nginx as [`Front::Nginx`](crate::Front::Nginx), with these directives of nginx's for its
/// server, or says that it is left out and returns `None`.
///
/// # Panics
///
/// If it does not start, and `HTTPCORE_LEFT_OUT` does not name it.
pub fn require_nginx_http2(door: Door<'_>, directives: &str) -> Option<Server> {
    left_out::or_start("nginx", || front(door, Origin::start()?, directives))
}

pub(crate) fn front(door: Door<'_>, origin: Origin, directives: &str) -> io::Result<Server> {
    let (listen, tls) = match door {
        Door::Plain => (" http2", String::new()),
        Door::Tls(authority) => (" ssl http2", tls(authority, "TLSv1.2 TLSv1.3")),
    };
    let lines = format!(
        "{tls}        {directives}\n        \
         add_header x-resumed $ssl_session_reused always;\n        \
         location / {{ try_files $uri @origin; }}\n        \
         location @origin {{\n            \
         proxy_pass http://{};\n            \
         proxy_http_version 1.1;\n            \
         proxy_request_buffering off;\n            \
         proxy_max_temp_file_size 0;\n        }}\n",
        origin.addr()
    );
    let server = port::on_a_free_one(|addr| try_start(addr, WITH_A_MASTER, listen, &lines))?;
    Ok(server.before(origin))
}

/// The lines for TLS of these versions, by a certificate of this authority.
pub(crate) fn tls(authority: &Authority, versions: &str) -> String {
    format!(
        "        ssl_certificate {};\n        ssl_certificate_key {};\n        \
         ssl_protocols {versions};\n        ssl_session_cache shared:tls:1m;\n",
        authority.certificate().display(),
        authority.key().display()
    )
}

fn try_start(addr: SocketAddr, main: &str, listen: &str, lines: &str) -> io::Result<Server> {
    let folder = folder()?;
    let path = folder.path();
    for name in ["www/bytes", "uploads/upload", "temporary"] {
        fs::create_dir_all(path.join(name))?;
    }
    fs::write(path.join("www/hello.txt"), "Hello from nginx!\n")?;
    fs::write(path.join("www/hello"), "Hello from nginx!\n")?;
    fs::write(path.join("www/tail"), "tail\n")?;
    for (name, size) in [
        ("empty", 0),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("256mib", 256 << 20),
        ("bytes/268435456", 256 << 20),
    ] {
        File::create(path.join("www").join(name))?.set_len(size)?;
    }
    let unix = path.join("nginx.sock");
    let config = path.join("nginx.conf");
    fs::write(&config, configuration(path, addr, main, listen, lines))?;
    let arguments = [
        "-p",
        &path.to_string_lossy(),
        "-c",
        &config.to_string_lossy(),
        "-e",
        "stderr",
    ];
    let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"]
        .into_iter()
        .find(|program| Path::new(program).is_file())
        .unwrap_or("nginx");
    let process = Process::start(program, &arguments)?;
    // Said when the events are set up, and the sockets listen before that.
    process.wait_for(|line| line.contains("event method").then_some(()))?;
    Ok(Server::new(process, addr, folder).with_unix(unix))
}

fn configuration(path: &Path, addr: SocketAddr, main: &str, listen: &str, lines: &str) -> String {
    let path = path.to_string_lossy();
    format!(
        r#"daemon off;
{main}pid {path}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 512; }}
http {{
    access_log off;
    default_type application/octet-stream;
    types {{ text/plain txt; }}
    sendfile on;
    client_max_body_size 0;
    client_body_temp_path {path}/temporary/body;
    proxy_temp_path {path}/temporary/proxy;
    fastcgi_temp_path {path}/temporary/fastcgi;
    uwsgi_temp_path {path}/temporary/uwsgi;
    scgi_temp_path {path}/temporary/scgi;
    keepalive_timeout 60s;
    keepalive_requests 100000;
    server {{
        listen {addr} backlog=511{listen};
{lines}        listen unix:{path}/nginx.sock;
        root {path}/www;
        location /chunked/ {{
            alias {path}/www/;
            add_after_body /tail;
            addition_types *;
        }}
        location /upload/ {{
            root {path}/uploads;
            dav_methods PUT DELETE;
        }}
        location = /what {{ return 200 "$request_method $content_length\n"; }}
        location = /no-content {{ return 204; }}
        location = /last {{ keepalive_timeout 0; return 200 "last\n"; }}
        location = /brief {{ keepalive_timeout 1s; return 200 "brief\n"; }}
        location = /twenty {{ keepalive_requests 20; return 200 "twenty\n"; }}
    }}
}}
"#
    )
}
