//! Exchanges on one connection over a stream without a network, for counting instructions and
//! allocations: run it under a counter with two numbers of requests, and take the difference.
//!
//! ```sh
//! cargo bench -p httpcore-proto-h1 --bench exchange --no-run
//! valgrind --tool=callgrind target/release/deps/exchange-… tiny 1000
//! ```

#![allow(clippy::unwrap_used)] // a measurement, and no library

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use httpcore_core_primitives::{
    Body, BoxFuture, ConnectionInfo, ExchangeContext, ExclusiveConnection, IdleEvent, Lease,
    LeaseId, LeaseOwner, LeaseState, NetworkStream, Request, Runtime, Timeouts, Timer,
    lease::LeaseEnd,
};
use httpcore_proto_h1::H1Connection;

/// A stream which answers every write, one poll later.
#[derive(Debug)]
struct Answers {
    answer: Bytes,
    /// 0: nothing was asked; 1: not yet; 2: now.
    state: u8,
}

impl NetworkStream for Answers {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.state < 2 {
            self.state *= 2;
            return Poll::Pending;
        }
        self.state = 0;
        buf.extend_from_slice(&self.answer);
        Poll::Ready(Ok(self.answer.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.state = 1;
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, _: &mut Context<'_>) -> Poll<IdleEvent> {
        Poll::Pending
    }

    fn info(&self) -> ConnectionInfo {
        ConnectionInfo::default()
    }
}

/// A runtime which is never asked for anything.
#[derive(Debug)]
struct Nothing;

impl Runtime for Nothing {
    fn now(&self) -> Instant {
        unreachable!("no limit is set")
    }

    fn timer(&self, _: &'static str) -> Box<dyn Timer> {
        unreachable!("no limit is set")
    }

    fn spawn(&self, _: &'static str, _: BoxFuture<'static, ()>) {
        unreachable!("nothing is spawned")
    }
}

#[derive(Default)]
struct Seat(Mutex<Option<Box<dyn ExclusiveConnection>>>, LeaseState);

impl LeaseOwner for Seat {
    fn lease_state(&self) -> &LeaseState {
        &self.1
    }

    fn reclaim(self: Arc<Self>, _: LeaseId, outcome: LeaseEnd) {
        if let LeaseEnd::Returned(connection, _) = outcome {
            *self.0.lock().unwrap() = Some(connection);
        }
    }
}

fn poll_to_end<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = poll(&mut cx) {
            return output;
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let what = arguments.next().unwrap_or_else(|| "tiny".to_owned());
    let requests: usize = arguments.next().map_or(10, |word| word.parse().unwrap());
    let answer = match what.as_str() {
        "tiny" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "empty" => "HTTP/1.1 204 No Content\r\n\r\n",
        "chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "eleven" => {
            "HTTP/1.1 200 OK\r\nServer: nginx/1.27.0\r\nDate: Fri, 20 Nov 2026 10:00:00 GMT\r\n\
             Content-Type: text/html; charset=utf-8\r\nContent-Length: 2\r\n\
             Connection: keep-alive\r\nVary: Accept-Encoding\r\nETag: \"65a1b2c3-264\"\r\n\
             Last-Modified: Thu, 19 Nov 2026 09:00:00 GMT\r\nCache-Control: max-age=3600\r\n\
             X-Request-Id: 0123456789abcdef\r\nStrict-Transport-Security: max-age=31536000\r\n\
             \r\nok"
        }
        other => panic!("{other}: tiny, empty, chunked or eleven"),
    };
    let stream = Answers {
        answer: answer.into(),
        state: 0,
    };
    let connection = H1Connection::new(Box::new(stream), Arc::new(Nothing), Arc::default());
    let seat = Arc::new(Seat::default());
    *seat.0.lock().unwrap() = Some(Box::new(connection));
    let url: http::Uri = "http://localhost:8080/index.html".parse().unwrap();
    for _ in 0..requests {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = url.clone();
        let terms = ExchangeContext::new(Lease::new(LeaseId::new(1), seat.clone()))
            .with_timeouts(Timeouts::none());
        let connection = seat.0.lock().unwrap().take().unwrap();
        let mut exchange = connection.exchange(request, terms);
        let response = poll_to_end(|cx| exchange.as_mut().poll(cx)).unwrap();
        drop(exchange);
        let mut body = response.into_body();
        while let Some(frame) = poll_to_end(|cx| Pin::new(&mut body).poll_frame(cx)) {
            frame.unwrap();
        }
    }
}
