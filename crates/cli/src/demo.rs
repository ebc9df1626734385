//! `httpcore demo`: real requests against a server of our own on loopback.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Version;
use httpcore::{
    Body, ConnectionPool, ConnectionPoolBuilder, EventLoop,
    sse::{EventSource, Subscription},
    tls::RustlsConnector,
    trace::{Trace, TraceEvent},
    ws::{self, Handshake, Message, WebSocket},
};
use httpcore_origin::{Origin, TlsDoor};

use crate::{Exit, output};

/// The large download.
const LARGE: u64 = 256 * 1024 * 1024;
/// How many requests share the pool, and how many connections it may have.
const SHARING: usize = 64;
const CONNECTIONS: usize = 8;
/// How many messages are said back over a WebSocket.
const MESSAGES: usize = 1000;
/// How many events there are in all, and they come in three responses.
const EVENTS: usize = 1000;

pub(crate) fn run() -> Result<(), Exit> {
    let mut origin = Origin::start()?;
    let door = origin.listen_tls()?;
    let epoll = EventLoop::new()?;
    let demo = Demo {
        ways: ways(&epoll, &origin, &door)?,
        runtime: epoll.backend(),
        origin: &origin,
        grants: Arc::default(),
    };
    let mut out = io::stdout();
    writeln!(
        out,
        "An origin server listens on {}, and with TLS on {}; the requests go over an epoll loop on \
         this thread.\n",
        origin.addr(),
        door.addr()
    )
    .map_err(output::stdout_failed)?;
    let table = epoll.block_on(demo.show(&epoll))?;
    demo.write(&mut out, &table).map_err(output::stdout_failed)
}

impl Demo<'_> {
    fn write(&self, out: &mut impl io::Write, table: &str) -> io::Result<()> {
        out.write_all(table.as_bytes())?;
        writeln!(out, "\nThe pools, afterwards:")?;
        for way in &self.ways {
            writeln!(out, "{:<18} {}", way.name, way.pool.status())?;
        }
        Ok(())
    }
}

/// A way of asking the origin, with a pool of its own.
struct Way {
    name: &'static str,
    /// What every answer must have come by.
    version: Version,
    /// What a path is added to.
    base: String,
    pool: ConnectionPool,
}

/// What is wrong if another version answered.
const WRONG: &str = "an answer came by another version";

impl Way {
    /// The URL of `path`, which begins with a slash.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// What is shown of an answer's head.
    fn answer<T>(&self, response: &http::Response<T>) -> Result<String, Exit> {
        let (version, status) = (response.version(), response.status());
        check(version == self.version, WRONG)?;
        Ok(format!("{} {}", output::version(version), status.as_str()))
    }
}

fn ways(epoll: &EventLoop, origin: &Origin, door: &TlsDoor) -> Result<[Way; 4], Exit> {
    // The certificate is self-signed, and the only trusted one.
    let roots = RustlsConnector::builder().root_pem(door.certificate())?;
    let tls = Arc::new(roots.build()?);
    let way = |name, version, base, choose: fn(ConnectionPoolBuilder) -> ConnectionPoolBuilder| {
        let builder = ConnectionPool::builder()
            .max_connections(CONNECTIONS)
            .tls(tls.clone());
        Way {
            name,
            version,
            base,
            pool: choose(builder).build(epoll.backend()),
        }
    };
    Ok([
        way("HTTP/1.1", Version::HTTP_11, origin.url(""), |pool| pool),
        way(
            "HTTP/1.1 over TLS",
            Version::HTTP_11,
            door.url(""),
            |pool| pool.http2(false),
        ),
        // The server is taken to know it.
        way("HTTP/2", Version::HTTP_2, origin.url(""), |pool| {
            pool.http1(false)
        }),
        // The server chooses it in the handshake.
        way("HTTP/2 over TLS", Version::HTTP_2, door.url(""), |pool| {
            pool
        }),
    ])
}

/// How often requests were granted a connection.
#[derive(Debug, Default)]
struct Grants {
    new: AtomicU64,
    reused: AtomicU64,
}

impl Grants {
    fn take(&self) -> (u64, u64) {
        (
            self.new.swap(0, Ordering::Relaxed),
            self.reused.swap(0, Ordering::Relaxed),
        )
    }
}

struct Demo<'a> {
    ways: [Way; 4],
    runtime: Arc<dyn httpcore::backend::NetworkBackend>,
    origin: &'a Origin,
    grants: Arc<Grants>,
}

/// What a step came to.
struct Seen {
    what: &'static str,
    /// The version by which it came, and its status.
    answer: String,
    bytes: u64,
}

impl Demo<'_> {
    async fn show(&self, epoll: &EventLoop) -> Result<String, Exit> {
        let mut table = format!(
            "{:<44} {:<12} {:>12} {:>6} {:>7} {:>12}\n",
            "what", "answer", "bytes", "new", "reused", "time"
        );
        let rule = "-".repeat(table.len() - 1);
        let _ = writeln!(table, "{rule}");
        for (number, way) in self.ways.iter().enumerate() {
            let _ = writeln!(table, "{}", way.name);
            self.row(&mut table, self.get(way)).await?;
            if number == 0 {
                self.row(&mut table, self.post(way)).await?;
                self.row(&mut table, self.stream(way)).await?;
                self.row(&mut table, self.download(way)).await?;
                self.row(&mut table, self.share(way, epoll)).await?;
            }
            self.row(&mut table, self.websocket(way)).await?;
            self.row(&mut table, self.events(way)).await?;
        }
        Ok(table)
    }

    async fn row(
        &self,
        table: &mut String,
        step: impl Future<Output = Result<Seen, Exit>>,
    ) -> Result<(), Exit> {
        let start = self.runtime.now();
        let seen = step.await?;
        let took = self.runtime.now() - start;
        let (new, reused) = self.grants.take();
        let _ = writeln!(
            table,
            "  {:<42} {:<12} {:>12} {new:>6} {reused:>7} {:>12}",
            seen.what,
            seen.answer,
            seen.bytes,
            readable(took)
        );
        Ok(())
    }

    /// Counts which connections requests are granted.
    fn listener(&self) -> Trace {
        let grants = self.grants.clone();
        Trace::to(move |_, event: &TraceEvent<'_>| {
            if let TraceEvent::ConnectionAcquired { reused } = event {
                let count = if *reused { &grants.reused } else { &grants.new };
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    fn request(
        &self,
        way: &Way,
        method: &str,
        path: &str,
        body: Body,
    ) -> Result<httpcore::Request, Exit> {
        Ok(http::Request::builder()
            .method(method)
            .uri(way.url(path))
            .extension(self.listener())
            .body(body)?)
    }

    async fn get(&self, way: &Way) -> Result<Seen, Exit> {
        let request = self.request(way, "GET", "/hello", Body::empty())?;
        let response = way.pool.request(request).await?;
        let answer = way.answer(&response)?;
        let bytes = response.into_body().bytes(1 << 20).await?;
        Ok(seen("GET, a small answer", answer, bytes.len() as u64))
    }

    async fn post(&self, way: &Way) -> Result<Seen, Exit> {
        let said = "what is said here comes back";
        let request = self.request(way, "POST", "/echo", said.into())?;
        let response = way.pool.request(request).await?;
        let answer = way.answer(&response)?;
        let bytes = response.into_body().bytes(1 << 20).await?;
        check(bytes == said, "the echo is not what was said")?;
        Ok(seen("POST, echoed", answer, bytes.len() as u64))
    }

    async fn stream(&self, way: &Way) -> Result<Seen, Exit> {
        let request = self.request(way, "GET", "/stream/10", Body::empty())?;
        let response = way.pool.request(request).await?;
        let answer = way.answer(&response)?;
        let mut body = response.into_body();
        let (mut pieces, mut bytes) = (0, 0);
        while let Some(piece) = body.chunk().await {
            bytes += piece?.len() as u64;
            pieces += 1;
        }
        check(pieces > 0, "the stream was empty")?;
        Ok(seen("GET, a chunked stream", answer, bytes))
    }

    async fn download(&self, way: &Way) -> Result<Seen, Exit> {
        let request = self.request(way, "GET", &format!("/bytes/{LARGE}"), Body::empty())?;
        let response = way.pool.request(request).await?;
        let answer = way.answer(&response)?;
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(piece) = body.chunk().await {
            let piece = piece?;
            check(
                httpcore_origin::pattern::matches(bytes, &piece),
                "the download is not what was asked for",
            )?;
            bytes += piece.len() as u64;
        }
        check(
            bytes == LARGE,
            "the download is not as long as it should be",
        )?;
        Ok(seen("GET, 256 MiB, checked as it streams", answer, bytes))
    }

    async fn websocket(&self, way: &Way) -> Result<Seen, Exit> {
        let handshake = Handshake::new(way.url("/echo")).option(self.listener());
        let opened = way.pool.websocket(handshake).await?;
        let answer = way.answer(&opened.response)?;
        let mut socket = WebSocket::new(opened.stream, ws::Config::default());
        let mut bytes = 0;
        for number in 0..MESSAGES {
            let said = Message::text(format!("message {number}"));
            socket.send(said.clone()).await?;
            let heard = match socket.message().await {
                Some(heard) => heard?,
                None => break,
            };
            check(heard == said, "the WebSocket's echo is not what was said")?;
            bytes += heard.len() as u64;
        }
        socket.close(None).await?;
        Ok(seen("a WebSocket, 1000 messages and back", answer, bytes))
    }

    async fn events(&self, way: &Way) -> Result<Seen, Exit> {
        let path = format!("/events/{EVENTS}?break=400");
        let subscription = Subscription::new(way.url(&path)).option(self.listener());
        // What `ConnectionPool::events` does, and a look at each response.
        let answers = Arc::<Mutex<Vec<_>>>::default();
        let (pool, heard) = (way.pool.clone(), answers.clone());
        let mut events = EventSource::new(subscription, self.runtime.clone(), move |request| {
            let (asking, heard) = (pool.request(request), heard.clone());
            async move {
                let response = asking.await?;
                let seen = (response.version(), response.status());
                lock(&heard).push(seen);
                Ok(response)
            }
        });
        let (mut next, mut bytes) = (0, 0);
        while let Some(event) = events.event().await {
            let event = event?;
            check(event.id == next.to_string(), "an event is missing")?;
            next += 1;
            bytes += event.data.len() as u64;
        }
        check(next == EVENTS, "the last events are missing")?;
        let answers = lock(&answers);
        let mut versions = answers.iter().map(|(version, _)| *version);
        check(versions.all(|version| version == way.version), WRONG)?;
        let codes: Vec<_> = answers.iter().map(|(_, status)| status.as_u16()).collect();
        // Three with events, and one which says that there are no more.
        check(codes == [200, 200, 200, 204], "the events came otherwise")?;
        let answer = format!("{} {}", output::version(way.version), codes[0]);
        Ok(seen("1000 events, broken off and resumed", answer, bytes))
    }

    async fn share(&self, way: &Way, epoll: &EventLoop) -> Result<Seen, Exit> {
        let mut tasks = Vec::with_capacity(SHARING);
        for _ in 0..SHARING {
            let request = self.request(way, "GET", "/hello", Body::empty())?;
            let sending = way.pool.request(request);
            tasks.push(epoll.spawn(async move {
                let response = sending.await?;
                let version = response.version();
                let bytes = response.into_body().bytes(1 << 20).await?;
                Ok::<_, httpcore::Error>((version, bytes))
            }));
        }
        let mut bytes = 0;
        for task in tasks {
            let (version, body) = task.await?;
            check(version == way.version, WRONG)?;
            bytes += body.len() as u64;
        }
        let open = self.origin.stats().most_open;
        check(
            open <= CONNECTIONS,
            "there are more connections than the limit allows",
        )?;
        Ok(seen(
            "64 GETs at once, at most 8 connections",
            format!("{} 200", output::version(way.version)),
            bytes,
        ))
    }
}

fn seen(what: &'static str, answer: String, bytes: u64) -> Seen {
    Seen {
        what,
        answer,
        bytes,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(holds: bool, otherwise: &'static str) -> Result<(), Exit> {
    if holds {
        Ok(())
    } else {
        Err(io::Error::other(otherwise).into())
    }
}

fn readable(time: Duration) -> String {
    if time < Duration::from_millis(10) {
        format!("{:.0} us", time.as_secs_f64() * 1e6)
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}
