//! HTTP/2, on the h2 crate, which needs no runtime: it is given what has been read and polled until
//! it has no more to do, then what it wrote is sent, and then the thread waits in a read.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, Read, Write},
    mem,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::{Buf, Bytes, BytesMut};
use h2::{
    Reason, RecvStream, SendStream,
    ext::Protocol,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Shared, connection::PIECE, routes, websocket};

/// How a client begins, without the line's end (RFC 9113 §3.4).
pub(crate) const FIRST_LINE: &[u8] = b"PRI * HTTP/2.0";
/// How many requests a connection may have at once.
const STREAMS: u32 = 100;

type Answering<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Serves a connection, of which the first line has been read, until it ends.
pub(crate) fn serve(
    shared: &Shared,
    input: &mut impl Read,
    output: &mut impl Write,
) -> io::Result<()> {
    let pipe = Rc::new(RefCell::new(Pipe::default()));
    pipe.borrow_mut().incoming.extend_from_slice(FIRST_LINE);
    pipe.borrow_mut().incoming.extend_from_slice(b"\r\n");
    let mut connection = Box::pin(connection(shared, Io(pipe.clone())));
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    let mut piece = vec![0; PIECE];
    loop {
        let mut is_over = false;
        while !is_over && woken.0.swap(false, Ordering::Relaxed) {
            is_over = connection.as_mut().poll(&mut cx).is_ready();
        }
        let outgoing = mem::take(&mut pipe.borrow_mut().outgoing);
        output.write_all(&outgoing)?;
        if is_over || pipe.borrow().has_ended {
            return Ok(());
        }
        let size = input.read(&mut piece)?;
        let mut pipe = pipe.borrow_mut();
        pipe.incoming.extend_from_slice(&piece[..size]);
        pipe.has_ended = size == 0;
        woken.0.store(true, Ordering::Relaxed);
    }
}

async fn connection(shared: &Shared, io: Io) {
    let mut builder = Builder::new();
    builder
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else {
        return;
    };
    let mut under_way: Vec<Answering<'_>> = Vec::new();
    poll_fn(|cx| {
        while let Poll::Ready(next) = connection.poll_accept(cx) {
            let Some(Ok((request, respond))) = next else {
                return Poll::Ready(());
            };
            shared.count_request();
            // What goes wrong with an answer, the client has noticed.
            under_way.push(Box::pin(async { drop(answer(request, respond).await) }));
        }
        under_way.retain_mut(|answering| answering.as_mut().poll(cx).is_pending());
        // What the answers have said is written by the next poll, for which they have woken us.
        Poll::Pending
    })
    .await;
}

async fn answer(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
    let path = request.uri().path();
    if request.method() == Method::CONNECT {
        return match (protocol, path) {
            (Some("websocket"), "/echo") => echo(request.into_body(), respond).await,
            _ => say(respond, 501, "no such tunnel\n").await,
        };
    }
    if request.method() != Method::GET {
        return say(respond, 405, "not with this method\n").await;
    }
    let count = path.strip_prefix("/events/");
    match (path, count.and_then(|count| count.parse().ok())) {
        ("/hello", _) => say(respond, 200, "Hello, world!\n").await,
        (_, Some(count)) => {
            let query = request.uri().query().unwrap_or("");
            events(request.headers(), query, count, respond).await
        }
        _ => say(respond, 404, "no such route\n").await,
    }
}

/// A WebSocket which says everything back (RFC 8441 §5).
async fn echo(mut input: RecvStream, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut output = respond.send_response(head(200, None), false)?;
    let mut unread = BytesMut::new();
    let mut said = Vec::new();
    while let Some(data) = input.data().await {
        let data = data?;
        let _ = input.flow_control().release_capacity(data.len());
        unread.extend_from_slice(&data);
        loop {
            let mut rest = &unread[..];
            match websocket::frame(&mut rest) {
                Ok(Some((first, payload))) => {
                    let read = unread.len() - rest.len();
                    unread.advance(read);
                    if !websocket::reply(first, &payload, &mut said) {
                        send(&mut output, said.into()).await?;
                        return output.send_data(Bytes::new(), true);
                    }
                }
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(_) => {
                    output.send_reset(Reason::PROTOCOL_ERROR);
                    return Ok(());
                }
            }
        }
        send(&mut output, mem::take(&mut said).into()).await?;
    }
    output.send_data(Bytes::new(), true)
}

async fn events(
    fields: &HeaderMap,
    query: &str,
    count: u64,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let last = fields.get("last-event-id").and_then(|id| id.to_str().ok());
    let Some((due, is_whole)) = routes::due(last, query, count) else {
        return respond.send_response(head(204, None), true).map(drop);
    };
    let mut output = respond.send_response(head(200, Some("text/event-stream")), false)?;
    send(&mut output, routes::RETRY.into()).await?;
    let until = due.end;
    for id in due {
        send(&mut output, routes::event(id).into()).await?;
    }
    if is_whole {
        return output.send_data(Bytes::new(), true);
    }
    // In the middle of the next one.
    send(&mut output, format!("id: {until}\nda").into()).await?;
    // A reset overtakes what is not yet written.
    written().await;
    output.send_reset(Reason::INTERNAL_ERROR);
    Ok(())
}

fn head(code: u16, kind: Option<&'static str>) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    if let Some(kind) = kind {
        let kind = http::HeaderValue::from_static(kind);
        head.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    head
}

async fn say(
    mut respond: SendResponse<Bytes>,
    code: u16,
    text: &'static str,
) -> Result<(), h2::Error> {
    let mut output = respond.send_response(head(code, Some("text/plain")), false)?;
    send(&mut output, Bytes::from_static(text.as_bytes())).await?;
    output.send_data(Bytes::new(), true)
}

/// Sends `data` as the client makes room for it.
async fn send(output: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        output.reserve_capacity(data.len());
        if output.capacity() == 0 {
            match poll_fn(|cx| output.poll_capacity(cx)).await {
                Some(capacity) => drop(capacity?),
                None => return Err(Reason::CANCEL.into()),
            }
            continue;
        }
        let size = output.capacity().min(data.len());
        output.send_data(data.split_to(size), false)?;
    }
    Ok(())
}

/// Lets the connection write what it has been given: it is polled before its answers.
async fn written() {
    let mut is_first = true;
    poll_fn(|cx| {
        if mem::take(&mut is_first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// Whether there is something to be polled for.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What has come and not been taken, and what is to go out.
#[derive(Default)]
struct Pipe {
    incoming: BytesMut,
    has_ended: bool,
    outgoing: Vec<u8>,
}

/// A pipe as h2 wants it. It calls no waker when bytes arrive: the thread polls after each read.
struct Io(Rc<RefCell<Pipe>>);

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = self.0.borrow_mut();
        if pipe.incoming.is_empty() && !pipe.has_ended {
            return Poll::Pending;
        }
        let size = pipe.incoming.len().min(out.remaining());
        out.put_slice(&pipe.incoming.split_to(size));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // What is in here is at most what the client's windows let out, and short frames.
        self.0.borrow_mut().outgoing.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    /// RFC 9113 §4.1.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// What a client says first, but for the line that has been read.
    fn opening() -> Vec<u8> {
        let mut opening = b"\r\nSM\r\n\r\n".to_vec();
        opening.extend(frame(SETTINGS, 0, 0, &[]));
        opening
    }

    /// A field neither indexed nor compressed (RFC 7541 §6.2.2).
    fn field(name: &str, value: &str) -> Vec<u8> {
        let mut field = vec![0];
        for text in [name, value] {
            field.push(text.len() as u8);
            field.extend(text.as_bytes());
        }
        field
    }

    fn request(method: &str, path: &str, others: &[(&str, &str)]) -> Vec<u8> {
        let pseudo = [(":method", method), (":scheme", "http"), (":path", path)];
        let fields = pseudo.iter().chain(&[(":authority", "a")]).chain(others);
        fields
            .flat_map(|(name, value)| field(name, value))
            .collect()
    }

    fn get(stream: u32, path: &str) -> Vec<u8> {
        let fields = request("GET", path, &[]);
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields)
    }

    /// What is said to `input`, of which `first` bytes come in one read and the rest in another.
    fn answered(input: &[u8], first: usize) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let (now, later) = input.split_at(first);
        let mut output = Vec::new();
        serve(
            &Shared::default(),
            &mut Read::chain(now, later),
            &mut output,
        )
        .unwrap();
        let mut frames = Vec::new();
        let mut rest = &output[..];
        while let [a, b, c, kind, flags, stream @ ..] = rest {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let (id, payload) = stream.split_at(4);
            let id = u32::from_be_bytes(id.try_into().unwrap());
            frames.push((*kind, *flags, id, payload[..length].to_vec()));
            rest = &payload[length..];
        }
        frames
    }

    fn data(frames: &[(u8, u8, u32, Vec<u8>)], stream: u32) -> Vec<u8> {
        let of_it = frames
            .iter()
            .filter(|(kind, _, id, _)| *kind == DATA && *id == stream);
        of_it.flat_map(|(.., payload)| payload.clone()).collect()
    }

    #[test]
    fn requests_are_answered_wherever_they_are_cut() {
        let input = [opening(), get(1, "/hello"), get(3, "/nothing")].concat();
        for first in 1..input.len() {
            let frames = answered(&input, first);
            assert_eq!(data(&frames, 1), b"Hello, world!\n", "{first}");
            assert_eq!(data(&frames, 3), b"no such route\n", "{first}");
        }
    }

    #[test]
    fn extended_connect_is_a_websocket_and_is_announced() {
        let fields = request("CONNECT", "/echo", &[(":protocol", "websocket")]);
        // With a mask of nothing but zeros.
        let message = |first: u8, payload: &[u8]| {
            let mut message = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
            message.extend(payload);
            message
        };
        let said = [
            message(0x81, b"one"),
            message(0x82, b""),
            message(0x88, &[3, 232]),
        ]
        .concat();
        for cut in 1..said.len() {
            let input = [
                opening(),
                frame(HEADERS, END_HEADERS, 1, &fields),
                frame(DATA, 0, 1, &said[..cut]),
                frame(DATA, 0, 1, &said[cut..]),
            ]
            .concat();
            let frames = answered(&input, input.len() / 2);
            let heard = data(&frames, 1);
            assert_eq!(heard, b"\x81\x03one\x82\x00\x88\x02\x03\xe8", "{cut}");
            assert!(
                frames
                    .iter()
                    .any(|(kind, flags, ..)| *kind == DATA && flags & END_STREAM != 0)
            );
            // RFC 8441 §3: SETTINGS_ENABLE_CONNECT_PROTOCOL.
            let (kind, .., settings) = &frames[0];
            assert_eq!(*kind, SETTINGS);
            assert!(
                settings
                    .chunks(6)
                    .any(|setting| setting == [0, 8, 0, 0, 0, 1])
            );
        }
    }

    #[test]
    fn broken_events_are_written_before_their_stream_is_reset() {
        let input = [opening(), get(1, "/events/3?break=2"), get(3, "/hello")].concat();
        let frames = answered(&input, input.len());
        let text = String::from_utf8(data(&frames, 1)).unwrap();
        let whole = format!("{}{}{}", routes::RETRY, routes::event(0), routes::event(1));
        assert_eq!(text, whole + "id: 2\nda");
        let of_it: Vec<_> = frames.iter().filter(|(.., id, _)| *id == 1).collect();
        assert_eq!(of_it.last().unwrap().0, RST_STREAM);
        // No other stream is affected.
        assert_eq!(data(&frames, 3), b"Hello, world!\n");
    }

    #[test]
    fn nonsense_ends_the_connection() {
        let frames = answered(&[b"\r\nSM\r\n\r\n", &[0xff; 40][..]].concat(), 10);
        assert!(
            frames.iter().any(|(kind, ..)| *kind == 7),
            "a GOAWAY: {frames:?}"
        );
    }
}
