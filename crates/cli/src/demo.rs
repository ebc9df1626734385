//! `httpcore demo`: real requests against a server of our own on loopback.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use httpcore::{
    Body, ConnectionPool, Epoll, Event, Trace,
    sse::Subscription,
    ws::{self, Handshake, Message, WebSocket},
};
use httpcore_origin::Origin;

use crate::Exit;

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
    let origin = Origin::start()?;
    let epoll = Epoll::new()?;
    let demo = Demo {
        pool: ConnectionPool::builder()
            .max_connections(CONNECTIONS)
            .build(epoll.backend()),
        runtime: epoll.backend(),
        origin: &origin,
        grants: Arc::default(),
    };
    println!(
        "An origin server listens on {}; the requests go over an epoll loop on this thread.\n",
        origin.addr()
    );
    let table = epoll.block_on(demo.show(&epoll))?;
    let mut out = io::stdout().lock();
    out.write_all(table.as_bytes())?;
    writeln!(out, "\nThe pool, afterwards:\n{}", demo.pool.status())?;
    Ok(())
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
    pool: ConnectionPool,
    runtime: Arc<dyn httpcore::NetworkBackend>,
    origin: &'a Origin,
    grants: Arc<Grants>,
}

/// What a step came to.
struct Seen {
    what: &'static str,
    status: String,
    bytes: u64,
}

impl Demo<'_> {
    async fn show(&self, epoll: &Epoll) -> Result<String, Exit> {
        let mut table = format!(
            "{:<44} {:<8} {:>12} {:>6} {:>7} {:>12}\n",
            "what", "status", "bytes", "new", "reused", "time"
        );
        let rule = "-".repeat(table.len() - 1);
        let _ = writeln!(table, "{rule}");
        self.row(&mut table, self.get()).await?;
        self.row(&mut table, self.post()).await?;
        self.row(&mut table, self.stream()).await?;
        self.row(&mut table, self.download()).await?;
        self.row(&mut table, self.share(epoll)).await?;
        self.row(&mut table, self.websocket()).await?;
        self.row(&mut table, self.events()).await?;
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
            "{:<44} {:<8} {:>12} {new:>6} {reused:>7} {:>12}",
            seen.what,
            seen.status,
            seen.bytes,
            readable(took)
        );
        Ok(())
    }

    /// Counts which connections requests are granted.
    fn listener(&self) -> Trace {
        let grants = self.grants.clone();
        Trace::to(move |_, event: &Event<'_>| {
            if let Event::Granted { reused } = event {
                let count = if *reused { &grants.reused } else { &grants.new };
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    fn request(&self, method: &str, path: &str, body: Body) -> Result<httpcore::Request, Exit> {
        Ok(http::Request::builder()
            .method(method)
            .uri(self.origin.url(path))
            .extension(self.listener())
            .body(body)?)
    }

    async fn get(&self) -> Result<Seen, Exit> {
        let request = self.request("GET", "/hello", Body::empty())?;
        let response = self.pool.request(request).await?;
        let status = response.status().to_string();
        let bytes = response.into_body().bytes(1 << 20).await?;
        Ok(seen("GET, a small answer", &status, bytes.len() as u64))
    }

    async fn post(&self) -> Result<Seen, Exit> {
        let said = "what is said here comes back";
        let request = self.request("POST", "/echo", said.into())?;
        let response = self.pool.request(request).await?;
        let status = response.status().to_string();
        let bytes = response.into_body().bytes(1 << 20).await?;
        check(bytes == said, "the echo is not what was said")?;
        Ok(seen("POST, echoed", &status, bytes.len() as u64))
    }

    async fn stream(&self) -> Result<Seen, Exit> {
        let request = self.request("GET", "/stream/10", Body::empty())?;
        let response = self.pool.request(request).await?;
        let status = response.status().to_string();
        let mut body = response.into_body();
        let (mut pieces, mut bytes) = (0, 0);
        while let Some(piece) = body.chunk().await {
            bytes += piece?.len() as u64;
            pieces += 1;
        }
        check(pieces > 0, "the stream was empty")?;
        Ok(seen("GET, a chunked stream", &status, bytes))
    }

    async fn download(&self) -> Result<Seen, Exit> {
        let request = self.request("GET", &format!("/bytes/{LARGE}"), Body::empty())?;
        let response = self.pool.request(request).await?;
        let status = response.status().to_string();
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
        Ok(seen("GET, 256 MiB, checked as it streams", &status, bytes))
    }

    async fn websocket(&self) -> Result<Seen, Exit> {
        let handshake = Handshake::new(self.origin.url("/echo")).option(self.listener());
        let opened = self.pool.websocket(handshake).await?;
        let status = opened.response.status().as_str().to_owned();
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
        Ok(seen("a WebSocket, 1000 messages and back", &status, bytes))
    }

    async fn events(&self) -> Result<Seen, Exit> {
        let path = format!("/events/{EVENTS}?break=400");
        let subscription = Subscription::new(self.origin.url(&path)).option(self.listener());
        let mut events = self.pool.events(subscription);
        let (mut next, mut bytes) = (0, 0);
        while let Some(event) = events.event().await {
            let event = event?;
            check(event.id == next.to_string(), "an event is missing")?;
            next += 1;
            bytes += event.data.len() as u64;
        }
        check(next == EVENTS, "the last events are missing")?;
        Ok(seen("1000 events, broken off and resumed", "200 OK", bytes))
    }

    async fn share(&self, epoll: &Epoll) -> Result<Seen, Exit> {
        let mut tasks = Vec::with_capacity(SHARING);
        for _ in 0..SHARING {
            let request = self.request("GET", "/hello", Body::empty())?;
            let sending = self.pool.request(request);
            tasks.push(epoll.spawn(async move {
                let response = sending.await?;
                response.into_body().bytes(1 << 20).await
            }));
        }
        let mut bytes = 0;
        for task in tasks {
            bytes += task.await?.len() as u64;
        }
        let open = self.origin.stats().most_open;
        check(
            open <= CONNECTIONS,
            "there are more connections than the limit allows",
        )?;
        Ok(seen(
            "64 GETs at once, at most 8 connections",
            "200 OK",
            bytes,
        ))
    }
}

fn seen(what: &'static str, status: &str, bytes: u64) -> Seen {
    Seen {
        what,
        status: status.to_owned(),
        bytes,
    }
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
