//! HAProxy, h2o and Caddy, each before an origin of ours.

use std::{fs, io, net::SocketAddr, path::Path};

use httpcore_origin::Origin;

use crate::{Door, Server, folder, port, process::Process};

/// Starts `program` with a configuration of its own, and waits until it says that it is `ready`.
fn start(
    program: &[&str],
    origin: Origin,
    configuration: impl Fn(&Path, SocketAddr, SocketAddr) -> String,
    ready: &str,
) -> io::Result<Server> {
    let (folder, process, addr) = port::on_a_free_one(|addr| {
        let folder = folder()?;
        let config = folder.path().join("config");
        let text = configuration(folder.path(), addr, origin.addr());
        fs::write(&config, text)?;
        let home = format!("HOME={}", folder.path().display());
        // Caddy keeps things at home.
        let mut arguments = vec!["-u", "XDG_CONFIG_HOME", "-u", "XDG_DATA_HOME", &home];
        arguments.extend(program);
        let config = config.to_string_lossy();
        arguments.push(&config);
        let process = Process::start("env", &arguments)?;
        process.wait_for(|line| line.contains(ready).then_some(()))?;
        Ok((folder, process, addr))
    })?;
    Ok(Server::new(process, addr, folder).before(origin))
}

pub(crate) fn haproxy(door: Door<'_>, origin: Origin) -> io::Result<Server> {
    // Without TLS it tells the two protocols apart by their first bytes.
    let (tls, says) = match door {
        Door::Plain => (String::new(), ""),
        Door::Tls(authority) => (
            format!(" ssl crt {} alpn h2,http/1.1", authority.both().display()),
            "  http-response set-header x-resumed %[ssl_fc_is_resumed]\n",
        ),
    };
    let configuration = |_: &Path, addr: SocketAddr, origin: SocketAddr| {
        format!(
            "defaults\n  mode http\n  timeout connect 60s\n  timeout client 60s\n  \
             timeout server 60s\n\
             frontend front\n  bind {addr}{tls}\n{says}  default_backend origin\n\
             backend origin\n  server origin {origin}\n"
        )
    };
    let program = ["/usr/sbin/haproxy", "-W", "-db", "-f"];
    start(&program, origin, configuration, "Loading success")
}

pub(crate) fn h2o(door: Door<'_>, origin: Origin) -> io::Result<Server> {
    let tls = match door {
        Door::Plain => String::new(),
        Door::Tls(authority) => format!(
            "      ssl:\n        certificate-file: {}\n        key-file: {}\n",
            authority.certificate().display(),
            authority.key().display(),
        ),
    };
    let configuration = |_: &Path, addr: SocketAddr, origin: SocketAddr| {
        let (host, port) = (addr.ip(), addr.port());
        format!(
            "num-threads: 1\n\
             hosts:\n  default:\n    listen:\n      host: {host}\n      port: {port}\n{tls}    \
             paths:\n      /:\n        proxy.reverse.url: http://{origin}/\n"
        )
    };
    start(&["h2o", "-c"], origin, configuration, "is ready to serve")
}

pub(crate) fn caddy(door: Door<'_>, origin: Origin) -> io::Result<Server> {
    let (scheme, tls) = match door {
        Door::Plain => ("http", String::new()),
        Door::Tls(authority) => (
            "https",
            format!(
                "  tls {} {}\n  header x-resumed {{http.request.tls.resumed}}\n",
                authority.certificate().display(),
                authority.key().display(),
            ),
        ),
    };
    let configuration = |_: &Path, addr: SocketAddr, origin: SocketAddr| {
        let ip = addr.ip();
        format!(
            "{{\n  admin off\n  auto_https off\n  servers {{\n    protocols h1 h2 h2c\n  }}\n}}\n\
             {scheme}://{addr} {{\n  bind {ip}\n{tls}  reverse_proxy {origin}\n}}\n"
        )
    };
    let program = ["caddy", "run", "--adapter", "caddyfile", "--config"];
    start(
        &program,
        origin,
        configuration,
        "serving initial configuration",
    )
}
