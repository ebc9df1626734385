//! A peer that sends faster than the client reads must not starve other tasks.

use std::{
    fmt,
    future::Future,
    io::{self, IoSlice},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::BytesMut;
use httpcore::{
    backend::{IdleEvent, NetworkStream},
    net::ConnectionInfo,
    ws::{Config, WebSocket},
};

use crate::peer::frame;

/// Where the flood stops, so that a test fails instead of never ending.
const ALL: usize = 4 << 20;
/// What one poll may read before others get their turn.
const TURN: usize = 1 << 20;

/// Says something once, and something else again and again, whenever it is asked.
struct Flood {
    once: Vec<u8>,
    again: Vec<u8>,
    read: Arc<AtomicUsize>,
}

impl fmt::Debug for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flood")
    }
}

impl NetworkStream for Flood {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut at = self.read.load(Ordering::Relaxed);
        if at >= ALL {
            return Poll::Pending;
        }
        let room = buf.capacity() - buf.len();
        for _ in 0..room {
            let byte = match self.once.get(at) {
                Some(byte) => *byte,
                None => self.again[(at - self.once.len()) % self.again.len()],
            };
            buf.extend_from_slice(&[byte]);
            at += 1;
        }
        self.read.store(at, Ordering::Relaxed);
        Poll::Ready(Ok(room))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, _: &mut Context<'_>) -> Poll<IdleEvent> {
        Poll::Ready(IdleEvent::UnsolicitedData)
    }

    fn info(&self) -> ConnectionInfo {
        ConnectionInfo::default()
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls once what `listen` makes of a socket to such a peer: that has to give way, and to be woken.
fn gives_way<T>(once: Vec<u8>, again: Vec<u8>, listen: impl AsyncFnOnce(WebSocket<Flood>) -> T) {
    let read = Arc::<AtomicUsize>::default();
    let flood = Flood {
        once,
        again,
        read: read.clone(),
    };
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(woken.clone());
    let mut listening = pin!(listen(WebSocket::new(flood, Config::default())));
    let polled = listening.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    let read = read.load(Ordering::Relaxed);
    assert!(read <= TURN, "{read} bytes were read in one poll");
    assert!(
        woken.0.load(Ordering::Relaxed) > 0,
        "the flood starves other tasks"
    );
}

#[test]
fn a_message_of_empty_frames_without_end_gives_way_to_others() {
    let begun = frame(0x01, "");
    let more = frame(0x00, "");
    gives_way(begun, more, async |mut socket| socket.message().await);
}

#[test]
fn a_peer_that_goes_on_talking_while_it_is_left_gives_way_to_others() {
    let text = frame(0x81, "one thing more");
    gives_way(Vec::new(), text, async |mut socket| {
        socket.close(None).await
    });
}
