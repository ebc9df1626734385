//! Forward proxies: HTTP, SOCKS, over TLS, and one behind another.

use std::{
    fs, io,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use httpcore_origin::Origin;

use crate::{Authority, Door, Server, folder, interop_folder, left_out, port, process::Process};

/// A user of the proxies that ask for one.
pub const USER: &str = "tester";
/// The user's password.
pub const PASSWORD: &str = "open-sesame";
/// MD5 of `tester:httpcore:open-sesame`, which is what squid keeps for Digest (RFC 7616 §3.4.2).
const DIGEST_HA1: &str = "346b9bc68ac4a82ce300983c7beed8ba";

/// A proxy for clients. Each listens on a port of 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Squid: forwards and tunnels, without authentication.
    Squid,
    /// The same, with Digest for [`USER`] and [`PASSWORD`].
    SquidDigest,
    /// tinyproxy: forwards and tunnels, with Basic for [`USER`] and [`PASSWORD`].
    Tinyproxy,
    /// dante: SOCKS 4 and 5, without authentication.
    Dante,
    /// microsocks: SOCKS 5, with [`USER`] and [`PASSWORD`].
    Microsocks,
}

impl Forward {
    fn name(self) -> &'static str {
        match self {
            Forward::Squid | Forward::SquidDigest => "squid",
            Forward::Tinyproxy => "tinyproxy",
            Forward::Dante => "dante",
            Forward::Microsocks => "microsocks",
        }
    }
}

/// Starts a proxy, or says that it is left out and returns `None`.
///
/// # Panics
///
/// If it does not start, and `HTTPCORE_LEFT_OUT` does not name it.
pub fn require_forward(kind: Forward) -> Option<Server> {
    left_out::or_start(kind.name(), || match kind {
        Forward::Squid => squid(""),
        Forward::SquidDigest => squid(
            "auth_param digest program /usr/lib/squid/digest_file_auth -c FOLDER/users\n\
             auth_param digest realm httpcore\n\
             auth_param digest children 1\n\
             acl known proxy_auth REQUIRED\n\
             http_access deny !known\n",
        ),
        Forward::Tinyproxy => tinyproxy(),
        Forward::Dante => dante(),
        Forward::Microsocks => microsocks(),
    })
}

/// Starts privoxy, which forwards and tunnels through `dante`.
///
/// # Panics
///
/// As for [`require_forward`].
pub fn require_privoxy(dante: &Server) -> Option<Server> {
    left_out::or_start("privoxy", || {
        start(
            &["privoxy", "--no-daemon"],
            |_, addr| {
                let dante = dante.addr();
                format!(
                    "confdir /etc/privoxy\nlisten-address {addr}\nforward-socks5 / {dante} .\n\
                     debug 4096\nkeep-alive-timeout 30\ntolerate-pipelining 1\n"
                )
            },
            "Listening on port",
        )
    })
}

/// Starts stunnel, which takes TLS and passes what is inside to `proxy`.
///
/// # Panics
///
/// As for [`require_forward`].
pub fn require_stunnel(authority: &Authority, proxy: &Server) -> Option<Server> {
    left_out::or_start("stunnel", || {
        start(
            &["stunnel4"],
            |_, addr| {
                format!(
                    "foreground = yes\npid =\n[proxy]\naccept = {addr}\nconnect = {}\ncert = {}\n",
                    proxy.addr(),
                    authority.both().display()
                )
            },
            "Configuration successful",
        )
    })
}

/// Starts nghttpx, which takes TLS and, by ALPN, HTTP/2, and passes what is inside to `proxy`.
///
/// # Panics
///
/// As for [`require_forward`].
pub fn require_nghttpx(authority: &Authority, proxy: &Server) -> Option<Server> {
    left_out::or_start("nghttpx", || {
        start(
            &["nghttpx", "--conf"],
            |_, addr| {
                let squid = proxy.addr();
                format!(
                    "frontend={},{}\nbackend={},{}\nhttp2-proxy=yes\nworkers=1\n\
                     private-key-file={}\ncertificate-file={}\n\
                     backend-connections-per-host=200\nfrontend-http2-max-concurrent-streams=100\n\
                     accesslog-file=/dev/null\nerrorlog-file=/dev/stderr\nlog-level=NOTICE\n",
                    addr.ip(),
                    addr.port(),
                    squid.ip(),
                    squid.port(),
                    authority.key().display(),
                    authority.certificate().display()
                )
            },
            "Listening on",
        )
    })
}

/// Starts mitmproxy, which forwards, and in tunnels takes TLS itself, with certificates of an authority of its
/// own. Returns that too, as PEM. `root` vouches for origins.
///
/// # Panics
///
/// As for [`require_forward`].
pub fn require_mitmproxy(root: &str) -> Option<(Server, String)> {
    let server = left_out::or_start("mitmproxy", || {
        let (folder, process, addr) = port::on_a_free_one(|addr| {
            let folder = folder()?;
            let path = folder.path().display().to_string();
            fs::write(folder.path().join("root.pem"), root)?;
            let program = interop_folder().join("mitmproxy/bin/mitmdump");
            let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
            let confdir = format!("confdir={path}");
            let roots = format!("ssl_verify_upstream_trusted_ca={path}/root.pem");
            let mut arguments = vec!["--quiet", "--listen-host", &ip, "--listen-port", &port];
            arguments.extend(["--set", &confdir, "--set", &roots]);
            // Otherwise it keeps every body whole.
            arguments.extend(["--set", "stream_large_bodies=1"]);
            let process = Process::start(&program.to_string_lossy(), &arguments)?;
            wait_until_it_accepts(addr)?;
            Ok((folder, process, addr))
        })?;
        Ok(Server::new(process, addr, folder))
    })?;
    let root = fs::read_to_string(server.folder().join("mitmproxy-ca-cert.pem"));
    Some((
        server,
        root.expect("mitmproxy makes its authority before it listens"),
    ))
}

/// Starts HAProxy before an origin of ours, where each connection begins with a header of the PROXY protocol.
/// The fields `x-source` and `x-destination` of a response have the addresses that it reported.
///
/// # Panics
///
/// As for [`require_forward`].
pub fn require_accept_proxy(door: Door<'_>) -> Option<Server> {
    left_out::or_start("haproxy", || {
        let tls = match door {
            Door::Plain => String::new(),
            Door::Tls(authority) => {
                format!(" ssl crt {} alpn h2,http/1.1", authority.both().display())
            }
        };
        let origin = Origin::start()?;
        let behind = origin.addr();
        let server = start(
            &["/usr/sbin/haproxy", "-W", "-db", "-f"],
            |_, addr| {
                format!(
                    "defaults\n  mode http\n  timeout connect 60s\n  timeout client 60s\n  \
                     timeout server 60s\n\
                     frontend front\n  bind {addr} accept-proxy{tls}\n  \
                     http-response set-header x-source %[src]:%[src_port]\n  \
                     http-response set-header x-destination %[dst]:%[dst_port]\n  \
                     default_backend origin\n\
                     backend origin\n  server origin {behind}\n"
                )
            },
            "Loading success",
        )?;
        Ok(server.before(origin))
    })
}

/// Starts `program` with a configuration as its last argument, and waits for a line with `ready`.
fn start(
    program: &[&str],
    configuration: impl Fn(&Path, SocketAddr) -> String,
    ready: &str,
) -> io::Result<Server> {
    let (folder, process, addr) = port::on_a_free_one(|addr| {
        let folder = folder()?;
        // Some give up root and read files after that.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let config = folder.path().join("config");
        fs::write(&config, configuration(folder.path(), addr))?;
        fs::write(
            folder.path().join("users"),
            format!("{USER}:httpcore:{DIGEST_HA1}\n"),
        )?;
        let config = config.to_string_lossy();
        let mut arguments = program[1..].to_vec();
        arguments.push(&config);
        let process = Process::start(program[0], &arguments)?;
        process.wait_for(|line| line.contains(ready).then_some(()))?;
        // Squid writes its line before it calls `listen`.
        wait_until_it_accepts(addr)?;
        Ok((folder, process, addr))
    })?;
    Ok(Server::new(process, addr, folder))
}

fn squid(access: &str) -> io::Result<Server> {
    // Squid 5.7 takes a full buffer for the end of the connection, and so breaks off a large POST, curl's too, to
    // an origin that is slower than the client.
    let configuration = |folder: &Path, addr: SocketAddr| {
        let access = access.replace("FOLDER", &folder.display().to_string());
        format!(
            "http_port {addr}\npid_filename none\ncache deny all\ncache_mem 0\naccess_log none\n\
             cache_log /dev/null\nnetdb_filename none\nshutdown_lifetime 0 seconds\n\
             coredump_dir none\nvisible_hostname squid.test\n\
             client_request_buffer_max_size 256 MB\n\
             {access}http_access allow all\n"
        )
    };
    // What instances share is named after the service, which is always the same by default.
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let name = format!("httpcore{}x{number}", std::process::id());
    start(
        &["squid", "-n", &name, "-N", "-d", "1", "-f"],
        configuration,
        "Accepting HTTP Socket connections",
    )
}

fn tinyproxy() -> io::Result<Server> {
    let configuration = |_: &Path, addr: SocketAddr| {
        format!(
            "Port {}\nListen {}\nTimeout 60\nMaxClients 200\nLogLevel Info\n\
             BasicAuth {USER} {PASSWORD}\n",
            addr.port(),
            addr.ip()
        )
    };
    start(
        &["tinyproxy", "-d", "-c"],
        configuration,
        "Starting main loop",
    )
}

fn dante() -> io::Result<Server> {
    let configuration = |_: &Path, addr: SocketAddr| {
        format!(
            "logoutput: stdout\ninternal: {} port = {}\nexternal: 127.0.0.1\n\
             clientmethod: none\nsocksmethod: none\n\
             user.privileged: root\nuser.unprivileged: daemon\n\
             client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
             socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n",
            addr.ip(),
            addr.port()
        )
    };
    start(&["danted", "-f"], configuration, "running")
}

/// Connects to `addr` again and again until that works.
#[allow(
    clippy::disallowed_methods,
    reason = "waits for a process that does not report when it is ready"
)]
fn wait_until_it_accepts(addr: SocketAddr) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(addr) {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > Duration::from_secs(60) => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// It prints nothing when it is ready.
fn microsocks() -> io::Result<Server> {
    let (process, addr) = port::on_a_free_one(|addr| {
        let port = addr.port().to_string();
        let ip = addr.ip().to_string();
        let arguments = ["-i", &ip, "-p", &port, "-u", USER, "-P", PASSWORD];
        let process = Process::start("microsocks", &arguments)?;
        wait_until_it_accepts(addr)?;
        Ok((process, addr))
    })?;
    Ok(Server::new(process, addr, folder()?))
}
