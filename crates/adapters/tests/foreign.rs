//! Streams of other libraries as ours, and back.

#![cfg(all(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use httpcore_adapters::{FuturesStream, HyperStream, Io, TokioStream};
use httpcore_core_primitives::{BoxStream, ConnectionInfo, IdleEvent, NetworkStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// The same pipe with each of the traits. The latter two are reached by way of ours, and so test `Io` as well.
fn each() -> Vec<(BoxStream, DuplexStream)> {
    let pipe = || tokio::io::duplex(64);
    let (tokio, futures, hyper) = (pipe(), pipe(), pipe());
    vec![
        (Box::new(TokioStream::new(tokio.0)), tokio.1),
        (
            Box::new(FuturesStream::new(Io::new(TokioStream::new(futures.0)))),
            futures.1,
        ),
        (
            Box::new(HyperStream::new(Io::new(TokioStream::new(hyper.0)))),
            hyper.1,
        ),
    ]
}

async fn read(stream: &mut BoxStream, room: usize) -> io::Result<BytesMut> {
    let mut buf = BytesMut::with_capacity(room);
    poll_fn(|cx| stream.poll_read(cx, &mut buf)).await?;
    Ok(buf)
}

fn idle(stream: &mut BoxStream) -> Poll<IdleEvent> {
    stream.poll_idle(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn bytes_cross_both_ways_and_the_end_is_read() {
    for (mut stream, mut peer) in each() {
        let bufs = [IoSlice::new(b""), IoSlice::new(b"ping")];
        let written = poll_fn(|cx| stream.poll_write(cx, &bufs)).await.unwrap();
        assert!(written > 0);
        let rest = [IoSlice::new(&b"ping"[written..]), IoSlice::new(b"!")];
        poll_fn(|cx| stream.poll_write(cx, &rest)).await.unwrap();
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        let mut heard = [0; 4];
        peer.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ping");
        peer.write_all(b"answer").await.unwrap();
        assert_eq!(read(&mut stream, 4).await.unwrap(), "answ");
        assert_eq!(read(&mut stream, 4).await.unwrap(), "er");
        poll_fn(|cx| stream.poll_shutdown(cx)).await.unwrap();
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.unwrap();
        drop(peer);
        assert_eq!(read(&mut stream, 4).await.unwrap(), "");
    }
}

#[tokio::test]
async fn a_pending_read_leaves_the_buffer_alone() {
    for (mut stream, _peer) in each() {
        let mut buf = BytesMut::with_capacity(100);
        buf.extend_from_slice(b"before");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(stream.poll_read(&mut cx, &mut buf).is_pending());
        assert_eq!(buf, "before");
        let Poll::Ready(Err(error)) = stream.poll_read(&mut cx, &mut BytesMut::new()) else {
            panic!("there is no room");
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn a_write_waits_for_room_and_fails_without_a_reader() {
    for (mut stream, peer) in each() {
        let mut cx = Context::from_waker(Waker::noop());
        let piece = [7; 40];
        let mut writes = 0;
        while let Poll::Ready(written) = stream.poll_write(&mut cx, &[IoSlice::new(&piece)]) {
            writes += written.unwrap();
        }
        assert_eq!(writes, 64);
        drop(peer);
        let Poll::Ready(Err(error)) = stream.poll_write(&mut cx, &[IoSlice::new(&piece)]) else {
            panic!("the write goes on");
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn what_an_idle_stream_receives_is_reported_and_then_read() {
    for (mut stream, mut peer) in each() {
        assert!(idle(&mut stream).is_pending());
        peer.write_all(b"early").await.unwrap();
        let unsolicited = Poll::Ready(IdleEvent::UnsolicitedData);
        assert_eq!(idle(&mut stream), unsolicited);
        assert_eq!(idle(&mut stream), unsolicited);
        assert_eq!(read(&mut stream, 3).await.unwrap(), "ear");
        assert_eq!(read(&mut stream, 100).await.unwrap(), "ly");
        assert!(idle(&mut stream).is_pending());
        drop(peer);
        assert_eq!(idle(&mut stream), Poll::Ready(IdleEvent::Closed));
    }
}

#[test]
fn what_is_known_of_a_stream_can_be_told() {
    let mut info = ConnectionInfo::default();
    info.peer = Some("127.0.0.1:1".parse().unwrap());
    let stream = TokioStream::new(tokio::io::duplex(1).0).with_info(info);
    assert_eq!(stream.info().peer, Some("127.0.0.1:1".parse().unwrap()));
}
