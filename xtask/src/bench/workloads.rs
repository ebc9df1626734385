//! What is measured, and the most that each may cost.

/// A kind of work, on one of the responder's ports.
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
    pub(crate) goals: Goals,
    /// How many requests are counted; then twice as many are, and the difference is taken.
    pub(crate) counted: u64,
    /// How many are timed; 0 if none are.
    pub(crate) timed: u64,
    /// Whether it is part of a short run.
    pub(crate) is_quick: bool,
}

/// The work, in the words of the clients' command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Get,
    /// A large response: only calls are counted, for the whole of it.
    Download,
    Upload,
    Connect,
    Resume,
    /// Idle connections, counted by what they hold.
    Idle,
    /// Beside a large download; its latencies count.
    Beside,
}

/// The most that one request should cost; for idle connections, the bytes of each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Goals {
    pub(crate) instructions: Option<f64>,
    pub(crate) allocations: Option<f64>,
    pub(crate) calls: Option<f64>,
    pub(crate) heap: Option<f64>,
}

const NO_GOALS: Goals = Goals {
    instructions: None,
    allocations: None,
    calls: None,
    heap: None,
};

const fn goals(instructions: f64, allocations: f64, calls: f64) -> Goals {
    Goals {
        instructions: Some(instructions),
        allocations: Some(allocations),
        calls: Some(calls),
        heap: None,
    }
}

const fn instructions(most: f64) -> Goals {
    Goals {
        instructions: Some(most),
        ..NO_GOALS
    }
}

const fn heap(most: f64) -> Goals {
    Goals {
        heap: Some(most),
        ..NO_GOALS
    }
}

const fn get(name: &'static str, title: &'static str, port: &'static str) -> Workload {
    Workload {
        name,
        title,
        port,
        path: "/hello",
        how: How::Get,
        in_flight: 1,
        goals: NO_GOALS,
        counted: 400,
        timed: 4_000,
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

pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        goals: goals(6_000.0, 4.0, 3.0), // a write, a wait, a read
        is_quick: true,
        ..get("h1", "HTTP/1.1, one after the other", "h1")
    },
    Workload {
        in_flight: 64,
        counted: 640,
        goals: goals(6_000.0, 4.0, 2.06), // one wait for all that have become ready
        is_quick: true,
        ..get("h1-64", "HTTP/1.1, 64 in flight", "h1")
    },
    Workload {
        in_flight: 1_000,
        counted: 1_000,
        timed: 8_000,
        ..get("h1-1000", "HTTP/1.1, 1,000 connections", "h1")
    },
    Workload {
        path: "/eleven",
        goals: instructions(13_000.0),
        ..get("h1-fields", "HTTP/1.1, 11 response fields", "h1")
    },
    Workload {
        path: "/bytes/10240",
        in_flight: 64,
        counted: 640,
        ..get("h1-10k", "HTTP/1.1, 10 KiB bodies, 64 in flight", "h1")
    },
    Workload {
        in_flight: 64,
        counted: 640,
        goals: instructions(12_000.0),
        is_quick: true,
        ..get("https-64", "https, 64 in flight", "https")
    },
    Workload {
        in_flight: 100,
        counted: 1_000,
        timed: 20_000,
        goals: Goals {
            calls: Some(0.08),
            ..instructions(24_000.0)
        },
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
        goals: Goals {
            calls: Some(8.0),
            ..instructions(15_000.0)
        },
        is_quick: true,
        ..get("connect", "HTTP/1.1, a new connection each", "h1")
    },
    Workload {
        how: How::Connect,
        counted: 20,
        timed: 100,
        ..get("tls-full", "https, a full handshake each", "https")
    },
    Workload {
        how: How::Resume,
        counted: 40,
        timed: 200,
        ..get("tls-resumed", "https, a resumed handshake each", "https")
    },
    bulk("h1-download", "HTTP/1.1, 256 MiB down", "h1"),
    Workload {
        how: How::Upload,
        path: "/upload",
        ..bulk("h1-upload", "HTTP/1.1, 256 MiB up", "h1")
    },
    bulk("https-download", "https, 256 MiB down", "https"),
    bulk(
        "h2c-download",
        "HTTP/2 without TLS, 256 MiB down",
        "h2c_large",
    ),
    bulk("h2-download", "HTTP/2 over TLS, 256 MiB down", "h2_large"),
    Workload {
        goals: heap(1024.0),
        ..idle("idle", "1,000 idle, HTTP/1.1", "h1", 1_000)
    },
    Workload {
        goals: heap(1024.0),
        ..idle("idle-10000", "10,000 idle, HTTP/1.1", "h1", 9_000)
    },
    Workload {
        goals: heap(8192.0),
        ..idle("idle-tls", "500 idle, https", "https", 500)
    },
    Workload {
        goals: heap(40.0 * 1024.0),
        ..idle("idle-h2c", "200 idle, HTTP/2 without TLS", "h2c", 200)
    },
    Workload {
        goals: heap(40.0 * 1024.0),
        ..idle("idle-h2", "200 idle, HTTP/2 over TLS", "h2", 200)
    },
    Workload {
        how: How::Beside,
        timed: 300,
        is_quick: true,
        ..get("beside", "small requests beside a 256 MiB download", "h1")
    },
];

impl Workload {
    pub(crate) fn is_http2(&self) -> bool {
        self.port.starts_with("h2")
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.port, "https" | "h2" | "h2_large")
    }

    /// What `requests` of it take on the command line of a client.
    pub(crate) fn words(&self, site: &Site<'_>, requests: u64) -> Vec<String> {
        let work = match self.how {
            How::Get | How::Download => "get",
            How::Upload => "upload",
            How::Connect | How::Resume => "connect",
            How::Idle => "idle",
            How::Beside => "beside",
        };
        let mut words = vec![work.to_owned()];
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        if self.how == How::Idle {
            // They have been there before they are idle: all at once.
            option("--url", self.url(site, &format!("/barrier/{requests}")));
            option("--in-flight", requests.to_string());
        } else {
            option("--url", self.url(site, self.path));
            option("--requests", requests.to_string());
            option("--in-flight", self.in_flight.to_string());
        }
        if self.how == How::Upload {
            option("--size", LARGE.to_string());
        }
        if self.how == How::Beside {
            option("--large", self.url(site, &format!("/bytes/{LARGE}")));
        }
        if self.is_tls() {
            option("--ca", site.ca.to_owned());
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

/// What is large.
pub(crate) const LARGE: u64 = 256 << 20;

/// Where a server listens, and whom it is vouched for by.
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
    fn a_workload_is_told_in_words() {
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
    }
}
