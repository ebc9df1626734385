//! A server of HTTP/2, on the h2 crate's own: over the mock's streams, and over sockets.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
};

use bytes::{Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, Request, Response};
use httpcore::backend::NetworkStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves one connection with [`answer`], until it ends.
pub async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, builder: server::Builder) {
    serve_with(io, builder, |request, respond| {
        Box::pin(async move { drop(answer(request, respond).await) })
    })
    .await;
}

/// Serves one connection with `answer`, until it ends. Answers go on side by side.
pub async fn serve_with(
    io: impl AsyncRead + AsyncWrite + Unpin,
    builder: server::Builder,
    mut answer: impl FnMut(Request<RecvStream>, SendResponse<Bytes>) -> Answering,
) {
    let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else {
        return;
    };
    let mut going_on: Vec<Answering> = Vec::new();
    poll_fn(|cx| {
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    going_on.push(answer(request, respond));
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        going_on.retain_mut(|answering| answering.as_mut().poll(cx).is_pending());
        // What the answers have left is written by the next poll, for which they have woken us.
        Poll::Pending
    })
    .await;
}

/// Answers by the path: `/hello`, `/bytes/N`, `/echo` (the body, and how long it was as a trailer),
/// `/request` (what the request looked like), `/hints` (103 before the answer), `/refuse` (413 without
/// reading), anything else 404. A `CONNECT` gets a stream that says everything back, unless it is for
/// a protocol other than `websocket`: 501.
pub async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    if request.method() == http::Method::CONNECT {
        return tunnel(request, respond).await;
    }
    let path = request.uri().path().to_owned();
    let ok = || Response::builder().status(200);
    if let Some(count) = path.strip_prefix("/bytes/") {
        let count: usize = count.parse().unwrap_or(0);
        let head = ok().header("content-length", count).body(()).expect("good");
        let mut body = respond.send_response(head, count == 0)?;
        let piece = Bytes::from(vec![b'x'; 16 * 1024]);
        let mut left = count;
        while left > 0 {
            let size = left.min(piece.len());
            send(&mut body, piece.slice(..size)).await?;
            left -= size;
        }
        return if count > 0 {
            body.send_data(Bytes::new(), true)
        } else {
            Ok(())
        };
    }
    match path.as_str() {
        "/echo" => {
            let mut content = request.into_body();
            let head = ok().body(()).expect("good");
            let mut body = respond.send_response(head, false)?;
            let mut length = 0;
            while let Some(data) = content.data().await {
                let data = data?;
                length += data.len();
                let _ = content.flow_control().release_capacity(data.len());
                send(&mut body, data).await?;
            }
            let mut trailers = content.trailers().await?.unwrap_or_default();
            trailers.insert("x-length", length.into());
            body.send_trailers(trailers)
        }
        "/hints" => {
            let hints = Response::builder()
                .status(103)
                .header("link", "</style.css>");
            respond.send_informational(hints.body(()).expect("good"))?;
            say(respond, ok().body(()).expect("good"), "hinted")
        }
        "/refuse" => {
            let head = Response::builder().status(413).body(()).expect("good");
            respond.send_response(head, true).map(drop)
        }
        "/request" => {
            let text = describe(&request);
            say(respond, ok().body(()).expect("good"), &text)
        }
        "/hello" => say(respond, ok().body(()).expect("good"), "hello"),
        _ => {
            let head = Response::builder().status(404).body(()).expect("good");
            say(respond, head, "not here")
        }
    }
}

/// Says back what comes, and ends when that does.
async fn tunnel(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let protocol = request.extensions().get::<h2::ext::Protocol>();
    if protocol.is_some_and(|protocol| protocol.as_str() != "websocket") {
        let head = Response::builder().status(501).body(()).expect("good");
        return say(respond, head, "which protocol?");
    }
    let head = Response::builder().status(200).body(()).expect("good");
    let mut sending = respond.send_response(head, false)?;
    let mut receiving = request.into_body();
    while let Some(data) = receiving.data().await {
        let data = data?;
        let _ = receiving.flow_control().release_capacity(data.len());
        send(&mut sending, data).await?;
    }
    sending.send_data(Bytes::new(), true)
}

fn say(mut respond: SendResponse<Bytes>, head: Response<()>, text: &str) -> Result<(), h2::Error> {
    let mut body = respond.send_response(head, false)?;
    body.send_data(Bytes::copy_from_slice(text.as_bytes()), true)
}

/// One line of each pseudo-header and field.
fn describe(request: &Request<RecvStream>) -> String {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    let fields: &HeaderMap = request.headers();
    for (name, value) in fields {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
    }
    text
}

/// Sends `data` as the client makes room for it.
pub async fn send(body: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        body.reserve_capacity(data.len());
        if body.capacity() == 0 {
            match poll_fn(|cx| body.poll_capacity(cx)).await {
                Some(capacity) => drop(capacity?),
                None => return Err(h2::Reason::CANCEL.into()),
            }
            continue;
        }
        let size = body.capacity().min(data.len());
        body.send_data(data.split_to(size), false)?;
    }
    Ok(())
}

/// A stream of ours as tokio's traits want it.
#[derive(Debug)]
pub struct Tokio<S>(pub S);

impl<S: NetworkStream + Unpin> AsyncRead for Tokio<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut buffer = BytesMut::with_capacity(out.remaining());
        ready!(self.0.poll_read(cx, &mut buffer))?;
        out.put_slice(&buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: NetworkStream + Unpin> AsyncWrite for Tokio<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

/// Serves h2c on a socket of this machine, on a thread of its own, until the process ends.
///
/// # Errors
///
/// When the system gives no socket.
pub fn start(builder: server::Builder) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                return;
            };
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, builder.clone()));
            }
        });
    });
    Ok(address)
}
