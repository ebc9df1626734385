//! hyper, polled by hand over a stream in memory.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    body::Body as _,
    client::conn::http1,
    rt::{Read, ReadBufCursor, Write},
};

use crate::{Case, End, Reading, of_map, request};

/// Answers once it has been asked.
struct Answer {
    bytes: Vec<u8>,
    read: usize,
    eof: bool,
    asked: bool,
}

impl Read for Answer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.bytes[self.read..];
        if !self.asked || (left.is_empty() && !self.eof) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = left.len().min(buf.remaining());
        buf.put_slice(&left[..taken]);
        self.read += taken;
        Poll::Ready(Ok(()))
    }
}

impl Write for Answer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// More turns than any of the cases needs.
const TURNS: usize = 1000;

pub(crate) fn read(case: &Case) -> Reading {
    let mut cx = Context::from_waker(Waker::noop());
    let answer = Answer {
        bytes: case.bytes.clone(),
        read: 0,
        eof: case.mark.is_some(),
        asked: false,
    };
    let mut handshake = pin!(http1::handshake(answer));
    let Poll::Ready(Ok((mut sender, connection))) = handshake.as_mut().poll(&mut cx) else {
        panic!("a handshake waits for nothing");
    };
    let mut connection = pin!(connection.with_upgrades());
    let mut request = request(case).map(|()| Empty::<Bytes>::new());
    if case.request != "CONNECT" {
        *request.uri_mut() = "/".parse().expect("a target");
        let host = http::HeaderValue::from_static("localhost");
        request.headers_mut().insert("host", host);
    }
    let mut sent = pin!(sender.send_request(request));
    let mut reading = Reading::default();
    let mut is_over = false;
    let mut body = None;
    for _ in 0..TURNS {
        if !is_over {
            is_over = connection.as_mut().poll(&mut cx).is_ready();
        }
        let Some(body) = &mut body else {
            match sent.as_mut().poll(&mut cx) {
                Poll::Ready(Ok(response)) => {
                    reading.status = response.status().as_u16();
                    reading.fields = of_map(response.headers());
                    reading.trailers = Some(Vec::new());
                    let connected = case.request == "CONNECT" && response.status().is_success();
                    if reading.status == 101 || connected {
                        reading.end = End::Switched;
                        return reading;
                    }
                    body = Some(response.into_body());
                }
                Poll::Ready(Err(error)) => return Reading::refused(source(&error)),
                Poll::Pending => {}
            }
            continue;
        };
        match Pin::new(body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => reading.body.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    reading.trailers = Some(of_map(&trailers));
                }
            },
            Poll::Ready(Some(Err(error))) => return Reading::refused(source(&error)),
            Poll::Ready(None) => {
                reading.end = End::Complete;
                return reading;
            }
            Poll::Pending => {}
        }
    }
    reading
}

fn source(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
