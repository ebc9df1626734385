//! The client of the servers, for tests of several protocols: a pool on a loop of its own.

use std::{
    borrow::Cow,
    future::poll_fn,
    io,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use http::{HeaderMap, Request, request, response};
use httpcore::{
    Body, Bytes, ConnectionPool, ConnectionPoolBuilder, EventLoop, Timeouts,
    error::BoxError,
    net::TlsInfo,
    tls::{RustlsConnector, TlsVersion},
    trace::{Trace, TraceEvent},
};

use crate::Authority;

/// How long a client waits for what must come: a bound on hanging, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most of a body that is kept.
const KEPT: usize = 1 << 20;

/// A loop, and a pool on it.
#[derive(Debug)]
pub struct Client {
    /// The loop.
    pub epoll: EventLoop,
    /// The pool.
    pub asker: Asker,
}

/// A pool, and the TLS handshakes it has made.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The pool.
    pub pool: ConnectionPool,
    handshakes: Arc<Mutex<Vec<TlsInfo>>>,
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: response::Parts,
    /// The beginning of its body, at most a MiB.
    pub body: Vec<u8>,
    /// How long the body was.
    pub length: u64,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
    /// How often the request was sent again.
    pub retries: usize,
}

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// The body as text, whatever it is.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// A field of the head, or nothing.
    pub fn field(&self, name: &str) -> &str {
        let value = self.head.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// A builder which trusts this authority, and speaks the versions between these two.
///
/// # Errors
///
/// If the authority's root is none.
pub fn trusting(
    authority: &Authority,
    oldest: TlsVersion,
    newest: TlsVersion,
) -> Result<ConnectionPoolBuilder, BoxError> {
    let connector = RustlsConnector::builder()
        .root_pem(authority.root())?
        .min_version(oldest)
        .max_version(newest)
        .build()?;
    Ok(ConnectionPool::builder().tls(Arc::new(connector)))
}

impl Client {
    /// A client with such a pool, which gives up when a request takes unreasonably long.
    ///
    /// # Errors
    ///
    /// If there is no loop to be had.
    pub fn new(builder: ConnectionPoolBuilder) -> io::Result<Self> {
        let epoll = EventLoop::new()?;
        let timeouts = Timeouts::default().with_total(PATIENCE);
        let asker = Asker {
            pool: builder.timeouts(timeouts).build(epoll.backend()),
            handshakes: Arc::default(),
        };
        Ok(Client { epoll, asker })
    }

    /// Sends a request, and reads the response to its end.
    ///
    /// # Errors
    ///
    /// The pool's, and those of reading the body.
    pub fn send(
        &self,
        builder: request::Builder,
        body: impl Into<Body>,
    ) -> Result<Answer, BoxError> {
        self.epoll.block_on(self.asker.fetch(builder, body.into()))
    }

    /// As [`send`](Self::send), for a GET.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get(&self, url: impl Into<String>) -> Result<Answer, BoxError> {
        self.send(Request::get(url.into()), ())
    }

    /// Sends `count` GETs, some at a time, and passes each response to `see`.
    ///
    /// # Errors
    ///
    /// The first there is.
    pub fn many(
        &self,
        count: usize,
        at_once: usize,
        url: &str,
        see: impl Fn(&Answer) + Clone + Send + 'static,
    ) -> Result<(), BoxError> {
        let begun = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..at_once)
            .map(|_| {
                let (begun, url, see) = (begun.clone(), url.to_owned(), see.clone());
                let asker = self.asker.clone();
                self.epoll.spawn(async move {
                    while begun.fetch_add(1, Ordering::Relaxed) < count {
                        let request = Request::get(url.as_str());
                        let answer = asker.fetch(request, Body::empty()).await?;
                        see(&answer);
                    }
                    Ok::<_, BoxError>(())
                })
            })
            .collect();
        self.epoll.block_on(async {
            for worker in workers {
                worker.await?;
            }
            Ok(())
        })
    }
}

impl Asker {
    /// Sends a request, and reads the response to its end.
    ///
    /// # Errors
    ///
    /// The pool's, and those of reading the body.
    pub async fn fetch(&self, builder: request::Builder, body: Body) -> Result<Answer, BoxError> {
        let (handshakes, retries) = (self.handshakes.clone(), Arc::new(AtomicUsize::new(0)));
        let retried = retries.clone();
        let trace = Trace::to(move |_: Instant, event: &TraceEvent<'_>| match event {
            TraceEvent::TlsEstablished { info } => lock(&handshakes).push((*info).clone()),
            TraceEvent::Retried { .. } => {
                retries.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        });
        let request = builder.extension(trace).body(body)?;
        let (head, mut body) = self.pool.request(request).await?.into_parts();
        let mut answer = Answer {
            retries: retried.load(Ordering::Relaxed),
            head,
            body: Vec::new(),
            length: 0,
            trailers: None,
        };
        while let Some(frame) = poll_fn(|cx| body.poll_next(cx)).await {
            match frame?.into_data() {
                Ok(piece) => {
                    answer.length += piece.len() as u64;
                    let kept = piece.len().min(KEPT - answer.body.len());
                    answer.body.extend_from_slice(&piece[..kept]);
                }
                Err(frame) => answer.trailers = frame.into_trailers().ok(),
            }
        }
        Ok(answer)
    }

    /// Version and whether it was resumed, of each handshake.
    pub fn handshakes(&self) -> Vec<(&'static str, bool)> {
        lock(&self.handshakes)
            .iter()
            .map(|info| (info.version.unwrap_or("?"), info.resumed))
            .collect()
    }
}

/// A body of this number of bytes in chunks, of unknown length, that counts the bytes taken from it.
pub fn upload(size: u64) -> (Body, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let body = Body::poll_fn(move |_| {
        let piece = Bytes::from_static(&[0; 16 << 10]);
        let before = count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready((before < size).then_some(Ok::<_, BoxError>(piece)))
    });
    (body, asked)
}

/// One large transfer in a process of its own, as told by it.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// The status of the response.
    pub status: u16,
    /// How many bytes its body had.
    pub received: u64,
    /// The most memory the process ever had, in KiB.
    pub peak: u64,
    /// The body, if it was short.
    pub said: String,
}

impl Transfer {
    /// Runs `program` (the binary `transfer`, which only a test knows the path of).
    ///
    /// # Errors
    ///
    /// What the program says, if it fails.
    pub fn run(program: &str, arguments: &[&str]) -> Result<Self, BoxError> {
        let output = Command::new(program).args(arguments).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let said = String::from_utf8(output.stdout)?;
        let (numbers, said) = said.split_once('\n').unwrap_or((&said, ""));
        let mut words = numbers.split_whitespace();
        let mut next = || words.next().ok_or("too little was said");
        Ok(Transfer {
            status: next()?.parse()?,
            received: next()?.parse()?,
            peak: next()?.parse()?,
            said: said.to_owned(),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
