//! The workloads.

/// A workload, on one of the responder's ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// For the baseline, the results and the command line.
    pub(crate) name: &'static str,
    /// For tables and plots.
    pub(crate) title: &'static str,
    /// The responder's name for the port.
    pub(crate) port: &'static str,
    pub(crate) path: &'static str,
    pub(crate) how: How,
    pub(crate) in_flight: u64,
    /// Number of threads, of clients that can have several; 0 for one.
    pub(crate) workers: usize,
    /// Number of requests in the first counted run; the second has twice as many, and the difference
    /// counts.
    pub(crate) counted: u64,
    /// Number of requests in a timed run; 0 if it is not timed.
    pub(crate) timed: u64,
    /// Whether it is part of `--quick`.
    pub(crate) is_quick: bool,
}

/// The kind of workload, as on the clients' command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Get,
    /// The same through a tunnel.
    Tunnel,
    /// A large response: only system calls are counted, for the whole of it.
    Download,
    Upload,
    Connect,
    Resume,
    /// Idle connections: their heap is counted.
    Idle,
    /// Small requests during a large download: their latencies are measured.
    ConcurrentDownload,
    /// One request to a name with two addresses, the first of which is dead: its time is measured.
    HappyEyeballs,
}

const fn get(name: &'static str, title: &'static str, port: &'static str) -> Workload {
    Workload {
        name,
        title,
        port,
        path: "/hello",
        how: How::Get,
        in_flight: 1,
        workers: 0,
        counted: 400,
        timed: 2_000,
        is_quick: false,
    }
}

const fn bulk(name: &'static str, title: &'static str, port: &'static str) -> Workload {
    Workload {
        path: "/bytes/268435456",
        how: How::Download,
        counted: 1,
        timed: 2,
        ..get(name, title, port)
    }
}

const fn idle(
    name: &'static str,
    title: &'static str,
    port: &'static str,
    in_flight: u64,
) -> Workload {
    Workload {
        how: How::Idle,
        in_flight,
        timed: 0,
        ..get(name, title, port)
    }
}

const fn happy_eyeballs(name: &'static str, title: &'static str, port: &'static str) -> Workload {
    Workload {
        how: How::HappyEyeballs,
        timed: 1,
        ..get(name, title, port)
    }
}

pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        is_quick: true,
        ..get("h1", "HTTP/1.1, sequential", "h1")
    },
    Workload {
        in_flight: 64,
        counted: 640,
        timed: 4_000,
        is_quick: true,
        ..get("h1-64", "HTTP/1.1, 64 in flight", "h1")
    },
    Workload {
        in_flight: 64,
        workers: 2,
        counted: 640,
        timed: 40_000,
        is_quick: true,
        ..get(
            "h1-64-workers2",
            "HTTP/1.1, 64 in flight, tokio with two workers",
            "h1",
        )
    },
    Workload {
        in_flight: 1_000,
        counted: 1_000,
        timed: 8_000,
        ..get("h1-1000", "HTTP/1.1, 1,000 connections", "h1")
    },
    Workload {
        path: "/eleven",
        ..get("h1-fields", "HTTP/1.1, 11 response fields", "h1")
    },
    Workload {
        path: "/four",
        in_flight: 64,
        counted: 640,
        timed: 4_000,
        ..get(
            "h1-64-four-fields",
            "HTTP/1.1, 4 response fields and 64 bytes, 64 in flight",
            "h1",
        )
    },
    Workload {
        how: How::Tunnel,
        timed: 0,
        ..get("h1-tunnel", "HTTP/1.1, sequential, through a tunnel", "h1")
    },
    Workload {
        path: "/bytes/10240",
        in_flight: 64,
        counted: 640,
        timed: 4_000,
        ..get("h1-10k", "HTTP/1.1, 10 KiB bodies, 64 in flight", "h1")
    },
    Workload {
        in_flight: 64,
        counted: 640,
        timed: 4_000,
        is_quick: true,
        ..get("https-64", "https, 64 in flight", "https")
    },
    Workload {
        in_flight: 100,
        counted: 1_000,
        timed: 20_000,
        is_quick: true,
        ..get("h2c-100", "HTTP/2 without TLS, 100 streams", "h2c")
    },
    Workload {
        in_flight: 100,
        counted: 1_000,
        timed: 20_000,
        ..get("h2-100", "HTTP/2 over TLS, 100 streams", "h2")
    },
    Workload {
        how: How::Connect,
        counted: 200,
        timed: 1_000,
        is_quick: true,
        ..get("connect", "HTTP/1.1, new connections", "h1")
    },
    Workload {
        how: How::Connect,
        counted: 20,
        timed: 100,
        ..get("tls-full", "https, full handshakes", "https")
    },
    Workload {
        how: How::Resume,
        counted: 40,
        timed: 200,
        ..get("tls-resumed", "https, resumed handshakes", "https")
    },
    bulk("h1-download", "HTTP/1.1, 256 MiB download", "h1"),
    Workload {
        how: How::Upload,
        path: "/upload",
        ..bulk("h1-upload", "HTTP/1.1, 256 MiB upload", "h1")
    },
    bulk("https-download", "https, 256 MiB download", "https"),
    bulk(
        "h2c-download",
        "HTTP/2 without TLS, 256 MiB download",
        "h2c_large",
    ),
    bulk(
        "h2-download",
        "HTTP/2 over TLS, 256 MiB download",
        "h2_large",
    ),
    idle("idle", "1,000 idle, HTTP/1.1", "h1", 1_000),
    idle("idle-10000", "10,000 idle, HTTP/1.1", "h1", 9_000),
    idle("idle-tls", "500 idle, https", "https", 500),
    idle("idle-h2c", "200 idle, HTTP/2 without TLS", "h2c", 200),
    idle("idle-h2", "200 idle, HTTP/2 over TLS", "h2", 200),
    Workload {
        how: How::ConcurrentDownload,
        timed: 300,
        is_quick: true,
        ..get(
            "concurrent-download",
            "small requests during a 256 MiB download",
            "h1",
        )
    },
    happy_eyeballs("dead-silent6", "first address (IPv6) silent", "silent6"),
    happy_eyeballs("dead-silent", "first address (IPv4) silent", "silent"),
    happy_eyeballs("dead-refusing", "first address (IPv4) refusing", "refusing"),
];

impl Workload {
    pub(crate) fn is_http2(&self) -> bool {
        self.port.starts_with("h2")
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.port, "https" | "h2" | "h2_large")
    }

    /// Returns the command line of a client for `requests` requests.
    pub(crate) fn words(&self, site: &Site<'_>, requests: u64) -> Vec<String> {
        let kind = match self.how {
            How::Get | How::Tunnel | How::Download => "get",
            How::Upload => "upload",
            How::Connect | How::Resume => "connect",
            How::Idle => "idle",
            How::ConcurrentDownload => "concurrent-download",
            How::HappyEyeballs => "happy-eyeballs",
        };
        let mut words = vec![kind.to_owned()];
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        if self.how == How::HappyEyeballs {
            let port = site.addr.rsplit(':').next().unwrap_or_default();
            option("--url", format!("http://two.test:{port}{}", self.path));
            option("--addresses", site.addr.to_owned());
        } else if self.how == How::Idle {
            // All at once, before they are idle.
            option("--url", self.url(site, &format!("/barrier/{requests}")));
            option("--in-flight", requests.to_string());
        } else {
            option("--url", self.url(site, self.path));
            option("--requests", requests.to_string());
            option("--in-flight", self.in_flight.to_string());
        }
        if self.how == How::Tunnel {
            option("--proxy", format!("http://{}", site.addr));
        }
        if self.how == How::Upload {
            option("--size", LARGE.to_string());
        }
        if self.how == How::ConcurrentDownload {
            option("--large", self.url(site, &format!("/bytes/{LARGE}")));
        }
        if self.is_tls() {
            option("--ca", site.ca.to_owned());
        }
        if self.workers > 0 {
            words.extend(["--workers".to_owned(), self.workers.to_string()]);
        }
        words.extend(self.is_http2().then(|| "--http2".to_owned()));
        words.extend((self.how == How::Resume).then(|| "--resume".to_owned()));
        words
    }

    fn url(&self, site: &Site<'_>, path: &str) -> String {
        let scheme = if self.is_tls() { "https" } else { "http" };
        format!("{scheme}://{}{path}", site.addr)
    }
}

/// Size of a large body, in bytes.
pub(crate) const LARGE: u64 = 256 << 20;

/// The address of a server (two are separated by a comma), and the file with its root certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) addr: &'a str,
    pub(crate) ca: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (n, workload) in WORKLOADS.iter().enumerate() {
            let others = &WORKLOADS[n + 1..];
            assert!(others.iter().all(|other| other.name != workload.name));
        }
    }

    #[test]
    fn workload_becomes_a_command_line() {
        let site = Site {
            addr: "127.0.0.1:1",
            ca: "ca.pem",
        };
        let named = |name| WORKLOADS.iter().find(|known| known.name == name).unwrap();
        assert_eq!(
            named("tls-resumed").words(&site, 7).join(" "),
            "connect --url https://127.0.0.1:1/hello --requests 7 --in-flight 1 --ca ca.pem \
             --resume"
        );
        assert_eq!(
            named("idle").words(&site, 9).join(" "),
            "idle --url http://127.0.0.1:1/barrier/9 --in-flight 9"
        );
        let site = Site {
            addr: "[::1]:7,127.0.0.1:7",
            ca: "ca.pem",
        };
        assert_eq!(
            named("dead-silent6").words(&site, 1).join(" "),
            "happy-eyeballs --url http://two.test:7/hello --addresses [::1]:7,127.0.0.1:7"
        );
    }
}
