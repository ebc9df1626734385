//! Shared by the measured programs, ours and those in `peers/`: the command line and the line of results.
//! With the feature `harness`, also the program that measures them.
//!
//! ```text
//! PROGRAM WORKLOAD --url URL [--requests N] [--in-flight K] …
//! ```
//!
//! | WORKLOAD | what is done |
//! |---|---|
//! | `get` | N requests over reused connections, K at once; bodies are read to the end |
//! | `upload` | N POSTs, each with a streamed body of `--size` bytes |
//! | `connect` | N requests, each over a new connection; TLS sessions are resumed with `--resume` |
//! | `idle` | K connections, opened one by one or by K requests at once; the program ends while holding them |
//! | `concurrent-download` | N sequential requests while the body at `--large` is read |
//! | `happy-eyeballs` | one request to a name with the `--addresses` `A,B`, in this order |
//!
//! A program that does not support a workload prints that and exits with [`CANNOT`]; otherwise it prints
//! one line of JSON. Built with the feature `lock-count`, it also prints how often the pool's lock was
//! acquired, as a line of text to its standard error. Before `get` and `upload` are timed, each of the K
//! has made one request: making connections is not included.

#![forbid(unsafe_code)]

#[cfg(feature = "harness")]
pub mod harness;
mod outcome;

use std::{env, error::Error, net::SocketAddr, path::PathBuf};

pub use outcome::{Latencies, Meter, Outcome};

/// The exit code of a program that does not support the workload.
pub const CANNOT: i32 = 3;

/// Size of the chunks in which bodies are uploaded, in bytes.
pub const CHUNK_BYTES: usize = 64 << 10;

/// The error of a program.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The kind of workload; see the crate's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are explained together")]
pub enum Workload {
    Get,
    Upload,
    Connect,
    Idle,
    ConcurrentDownload,
    HappyEyeballs,
}

/// The parsed command line of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The kind of workload.
    pub workload: Workload,
    /// The URL of the requests.
    pub url: String,
    /// Number of requests, without those of the warm-up.
    pub requests: u64,
    /// Maximum number of requests at once.
    pub in_flight: u64,
    /// The length of each uploaded body, in bytes.
    pub size: u64,
    /// URL of the download that runs during the requests.
    pub large: Option<String>,
    /// Addresses of the name in the URL, if it cannot be resolved.
    pub addresses: Vec<SocketAddr>,
    /// URL of a proxy, through which there is a tunnel.
    pub proxy: Option<String>,
    /// A file with the root of `https`, as PEM.
    pub ca: Option<PathBuf>,
    /// HTTP/2, by prior knowledge or over TLS by ALPN.
    pub http2: bool,
    /// Whether TLS sessions may be resumed.
    pub resume: bool,
    /// Number of threads of a runtime that can have several; 0 for one which is the main thread.
    pub workers: usize,
    /// Whether the latency of each request is measured.
    pub latencies: bool,
}

impl Task {
    /// Parses the arguments of this process.
    ///
    /// # Errors
    ///
    /// If they are invalid, with a description.
    pub fn from_arguments() -> Result<Self, String> {
        Self::parse(env::args().skip(1))
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let workload = match words.next().as_deref() {
            Some("get") => Workload::Get,
            Some("upload") => Workload::Upload,
            Some("connect") => Workload::Connect,
            Some("idle") => Workload::Idle,
            Some("concurrent-download") => Workload::ConcurrentDownload,
            Some("happy-eyeballs") => Workload::HappyEyeballs,
            other => return Err(format!("unknown workload: {other:?}")),
        };
        let mut task = Task {
            workload,
            url: String::new(),
            requests: 0,
            in_flight: 1,
            size: 0,
            large: None,
            addresses: Vec::new(),
            proxy: None,
            ca: None,
            http2: false,
            resume: false,
            workers: 0,
            latencies: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{text}: not a number"));
            match word.as_str() {
                "--url" => task.url = value()?,
                "--requests" => task.requests = number(value()?)?,
                "--in-flight" => task.in_flight = number(value()?)?,
                "--proxy" => task.proxy = Some(value()?),
                "--size" => task.size = number(value()?)?,
                "--large" => task.large = Some(value()?),
                "--addresses" => {
                    let addresses = value()?;
                    let addresses: Result<_, _> = addresses.split(',').map(str::parse).collect();
                    task.addresses =
                        addresses.map_err(|_| "--addresses needs addresses with ports")?;
                }
                "--ca" => task.ca = Some(value()?.into()),
                "--workers" => {
                    task.workers = value()?.parse().map_err(|_| "--workers needs a number")?
                }
                "--http2" => task.http2 = true,
                "--resume" => task.resume = true,
                "--latencies" => task.latencies = true,
                other => return Err(format!("unknown option: {other}")),
            }
        }
        if task.url.is_empty() || task.in_flight == 0 {
            return Err("--url is required, and --in-flight must not be 0".into());
        }
        Ok(task)
    }

    /// Returns the number of requests of each of the [`in_flight`](Self::in_flight) workers. Their sum is
    /// exactly `requests`.
    pub fn shares(&self, requests: u64) -> impl Iterator<Item = u64> + use<> {
        let (all, each) = (self.in_flight, requests / self.in_flight);
        (0..all).map(move |worker| each + u64::from(worker < requests % all))
    }

    /// Returns the task that opens one connection for each worker: no request is answered before all have
    /// been sent, so that no connection is free for another. (A handshake costs as much as hundreds of
    /// requests, so that one more or less would dominate the count.)
    pub fn warm_up(&self) -> Task {
        let mut task = self.clone();
        if self.in_flight > 1 {
            let path = format!("/barrier/{}/{}", self.in_flight, std::process::id());
            task.url = self.url_of(&path);
        }
        task
    }

    /// Returns the URL with another path.
    pub fn url_of(&self, path: &str) -> String {
        let whole = self.url.len();
        let host = &self.url[..whole - self.host_and_path().1.len()];
        format!("{host}{path}")
    }

    /// Returns the URL without its scheme: host and port, and the path.
    pub fn host_and_path(&self) -> (&str, &str) {
        let (_, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        rest.find('/')
            .map_or((rest, "/"), |slash| rest.split_at(slash))
    }

    /// Whether the URL's scheme is `https`.
    pub fn is_https(&self) -> bool {
        self.url.starts_with("https://")
    }
}

/// Ends a program that does not support the workload.
pub fn cannot(what: &str) -> ! {
    eprintln!("not supported: {what}");
    std::process::exit(CANNOT)
}

/// Runs a program: parses its task, calls `program`, prints the result.
///
/// A program that holds idle connections ends here with them: its heap at that time is what they take.
pub fn run(program: impl FnOnce(&Task) -> Result<Outcome, Failure>) -> ! {
    let outcome = match Task::from_arguments() {
        Ok(task) => program(&task).map_err(|error| error.to_string()),
        Err(usage) => Err(usage),
    };
    match outcome {
        Ok(outcome) => {
            println!("{outcome}");
            #[cfg(feature = "lock-count")]
            eprintln!("pool lock acquisitions: {}", httpcore_pool::lock_count());
            std::process::exit(0)
        }
        Err(error) => {
            eprintln!("error: {error}");
            std::process::exit(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, String> {
        Task::parse(line.split(' ').map(String::from))
    }

    #[test]
    fn task_is_parsed_from_arguments() {
        let task = parse("get --url https://a:1/b --requests 10 --in-flight 4 --http2").unwrap();
        assert_eq!((task.workload, task.requests), (Workload::Get, 10));
        assert!(task.http2 && task.is_https() && !task.resume);
        assert_eq!(task.host_and_path(), ("a:1", "/b"));
        assert_eq!(task.url_of("/c"), "https://a:1/c");
        assert_eq!(task.shares(10).collect::<Vec<_>>(), [3, 3, 2, 2]);
    }

    #[test]
    fn invalid_arguments_are_rejected() {
        for wrong in [
            "",
            "fly --url http://a",
            "get",
            "get --url",
            "get --url http://a --requests many",
            "get --url http://a --in-flight 0",
            "get --url http://a --fast",
            "happy-eyeballs --url http://a --addresses 127.0.0.1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
