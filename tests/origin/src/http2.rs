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

use crate::{Shared, connection::PIECE, routes, stream::Stream, websocket};

/// How a client begins, without the line's end (RFC 9113 §3.4).
pub(crate) const FIRST_LINE: &[u8] = b"PRI * HTTP/2.0";
/// How many requests a connection may have at once.
const STREAMS: u32 = 100;

type Answering<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Serves a connection, of which the first line has been read, until it ends.
pub(crate) fn serve(shared: &Shared, input: &mut impl Read, mut output: &Stream) -> io::Result<()> {
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

/// A pipe as h2 wants it. Nobody is woken when something comes: the thread polls after each read.
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
