//! nginx.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use crate::{Server, folder, process::Process, unexpected};

/// How often another port is tried when somebody was quicker.
const TRIES: usize = 5;

pub(crate) fn start() -> io::Result<Server> {
    let mut last = unexpected("no port");
    for _ in 0..TRIES {
        match try_start() {
            Err(error) if error.to_string().contains("Address already in use") => last = error,
            other => return other,
        }
    }
    Err(last)
}

fn try_start() -> io::Result<Server> {
    let folder = folder()?;
    let path = folder.path();
    for name in ["www", "uploads/upload", "temporary"] {
        fs::create_dir_all(path.join(name))?;
    }
    fs::write(path.join("www/hello.txt"), "Hello from nginx!\n")?;
    fs::write(path.join("www/tail"), "tail\n")?;
    for (name, size) in [
        ("empty", 0),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("256mib", 256 << 20),
    ] {
        File::create(path.join("www").join(name))?.set_len(size)?;
    }
    // nginx must be told its port; bound here for a moment, it is most likely still free then.
    let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let unix = path.join("nginx.sock");
    let config = path.join("nginx.conf");
    fs::write(&config, configuration(path, addr))?;
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
    Ok(Server {
        process,
        addr,
        unix: Some(unix),
        folder,
    })
}

fn configuration(path: &Path, addr: SocketAddr) -> String {
    let path = path.to_string_lossy();
    // One process: what is started is what is ended.
    format!(
        r#"daemon off;
master_process off;
pid {path}/nginx.pid;
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
        listen {addr} backlog=511;
        listen unix:{path}/nginx.sock;
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
