//! What the programs that are counted have in common, ours and those in `peers/`: the command line,
//! and the line of results.
//!
//! ```text
//! PROGRAM WORK --url URL [--requests N] [--in-flight K] …
//! ```
//!
//! | WORK | what is done |
//! |---|---|
//! | `get` | N requests over connections that are kept, K at once; bodies are read to the end |
//! | `upload` | N POSTs, each with a body of `--size` bytes that is streamed |
//! | `connect` | N requests, each over a new connection; TLS sessions are resumed with `--resume` |
//! | `idle` | K connections, opened one by one or held by K requests at once; exits holding them |
//! | `concurrent-download` | N requests, one after the other, while the body at `--large` is read |
//! | `happy-eyeballs` | one request to a name that has the `--addresses` `A,B`, in this order |
//!
//! A program which cannot do a work says so and exits with [`CANNOT`]; one that did it prints one
//! line of JSON; built with the feature `lock-count`, it also prints how often the pool's lock was
//! acquired, as a line of text to its standard error. Before `get` and `upload` are timed, each of the K has made one request: making
//! connections is not part of it.

#![forbid(unsafe_code)]

mod outcome;

use std::{env, error::Error, net::SocketAddr, path::PathBuf};

pub use outcome::{Latencies, Meter, Outcome};

/// The exit code of a program that has no way of doing what it was asked for.
pub const CANNOT: i32 = 3;

/// The pieces in which bodies are uploaded.
pub const PIECE: usize = 64 << 10;

/// Why something was not done.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What is to be done; see the crate's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are explained together")]
pub enum Work {
    Get,
    Upload,
    Connect,
    Idle,
    ConcurrentDownload,
    HappyEyeballs,
}

/// What a program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// In general.
    pub work: Work,
    /// What is asked for.
    pub url: String,
    /// How many requests are made in all, those of a warm-up apart.
    pub requests: u64,
    /// How many of them at once, at most.
    pub in_flight: u64,
    /// The length of each uploaded body, in bytes.
    pub size: u64,
    /// What is downloaded beside the requests.
    pub large: Option<String>,
    /// What the name in the URL stands for, if it is one that nobody can look up.
    pub addresses: Vec<SocketAddr>,
    /// A file with the root of `https`, as PEM.
    pub ca: Option<PathBuf>,
    /// HTTP/2 without asking (prior knowledge), or by ALPN over TLS.
    pub http2: bool,
    /// Whether TLS sessions may be resumed.
    pub resume: bool,
    /// Whether each request's time is taken.
    pub latencies: bool,
}

impl Task {
    /// The task in this process's arguments.
    ///
    /// # Errors
    ///
    /// In a sentence, if there is none.
    pub fn from_arguments() -> Result<Self, String> {
        Self::parse(env::args().skip(1))
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let work = match words.next().as_deref() {
            Some("get") => Work::Get,
            Some("upload") => Work::Upload,
            Some("connect") => Work::Connect,
            Some("idle") => Work::Idle,
            Some("concurrent-download") => Work::ConcurrentDownload,
            Some("happy-eyeballs") => Work::HappyEyeballs,
            other => return Err(format!("no such work: {other:?}")),
        };
        let mut task = Task {
            work,
            url: String::new(),
            requests: 0,
            in_flight: 1,
            size: 0,
            large: None,
            addresses: Vec::new(),
            ca: None,
            http2: false,
            resume: false,
            latencies: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("nothing behind {word}"));
            let number = |text: String| text.parse().map_err(|_| format!("{text}: no number"));
            match word.as_str() {
                "--url" => task.url = value()?,
                "--requests" => task.requests = number(value()?)?,
                "--in-flight" => task.in_flight = number(value()?)?,
                "--size" => task.size = number(value()?)?,
                "--large" => task.large = Some(value()?),
                "--addresses" => {
                    let addresses = value()?;
                    let addresses: Result<_, _> = addresses.split(',').map(str::parse).collect();
                    task.addresses = addresses.map_err(|_| "no addresses with ports")?;
                }
                "--ca" => task.ca = Some(value()?.into()),
                "--http2" => task.http2 = true,
                "--resume" => task.resume = true,
                "--latencies" => task.latencies = true,
                other => return Err(format!("no such option: {other}")),
            }
        }
        if task.url.is_empty() || task.in_flight == 0 {
            return Err("a --url is needed, and something --in-flight".into());
        }
        Ok(task)
    }

    /// How many requests each of the [`in_flight`](Self::in_flight) makes: together exactly as many
    /// as were asked for.
    pub fn shares(&self, requests: u64) -> impl Iterator<Item = u64> + use<> {
        let (all, each) = (self.in_flight, requests / self.in_flight);
        (0..all).map(move |worker| each + u64::from(worker < requests % all))
    }

    /// The same for those in flight that are to have a connection each: no request is answered before
    /// all have been sent, and so no connection is free for another. (A handshake takes as much as
    /// hundreds of requests: one more or less would be all that is counted.)
    pub fn warm_up(&self) -> Task {
        let mut task = self.clone();
        if self.in_flight > 1 {
            let path = format!("/barrier/{}/{}", self.in_flight, std::process::id());
            task.url = self.url_of(&path);
        }
        task
    }

    /// The URL with another path.
    pub fn url_of(&self, path: &str) -> String {
        let whole = self.url.len();
        let host = &self.url[..whole - self.host_and_path().1.len()];
        format!("{host}{path}")
    }

    /// The URL without its scheme: host and port, and the path.
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

/// Ends a program that has no way of doing what it was asked for.
pub fn cannot(what: &str) -> ! {
    eprintln!("cannot: {what}");
    std::process::exit(CANNOT)
}

/// Runs a program: reads its task, does it, prints the result.
///
/// A program that holds idle connections ends here with them: what lives at its end is what they
/// take.
pub fn run(work: impl FnOnce(&Task) -> Result<Outcome, Failure>) -> ! {
    let outcome = match Task::from_arguments() {
        Ok(task) => work(&task).map_err(|error| error.to_string()),
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
    fn a_task_is_read_from_words() {
        let task = parse("get --url https://a:1/b --requests 10 --in-flight 4 --http2").unwrap();
        assert_eq!((task.work, task.requests), (Work::Get, 10));
        assert!(task.http2 && task.is_https() && !task.resume);
        assert_eq!(task.host_and_path(), ("a:1", "/b"));
        assert_eq!(task.url_of("/c"), "https://a:1/c");
        assert_eq!(task.shares(10).collect::<Vec<_>>(), [3, 3, 2, 2]);
    }

    #[test]
    fn what_is_no_task_is_refused() {
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
