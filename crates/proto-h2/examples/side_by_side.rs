//! Two exchanges on one connection, in virtual time: the second is answered before the first.
//!
//! The server knows just enough of HTTP/2 to answer by hand: it reads frames, and for each HEADERS
//! it sends a head and a body, the longer the lower the stream's number.

use std::{sync::Arc, time::Duration};

use httpcore_core_primitives::{
    Body, ExchangeContext, Lease, Request, SharedConnection, StreamId, sleep_until,
};
use httpcore_net_mock::{MockNet, ServerStream};
use httpcore_proto_h2::{H2Connection, Http2Config};

/// RFC 9113 §3.4: what a client says first.
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn serve(mut stream: ServerStream) -> std::io::Result<()> {
    stream.read_exact(PREFACE.len()).await?;
    // RFC 9113 §6.5: SETTINGS, with nothing in it.
    stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await?;
    let mut asked = Vec::new();
    while asked.len() < 2 {
        let head = stream.read_exact(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(length as usize).await?;
        if head[3] == 1 {
            asked.push(head[8]);
        }
    }
    // The later one first.
    for number in asked.into_iter().rev() {
        stream.sleep(Duration::from_millis(100)).await;
        // HEADERS: the field `:status: 200` has the number 8 (RFC 7541 §A), and END_HEADERS is 4.
        stream
            .write_all([0, 0, 1, 1, 4, 0, 0, 0, number, 0x88])
            .await?;
        // DATA of five bytes, which END_STREAM (1) ends.
        stream.write_all([0, 0, 5, 0, 1, 0, 0, 0, number]).await?;
        stream.write_all("hello").await?;
    }
    stream.idle().await;
    Ok(())
}

fn terms() -> ExchangeContext {
    ExchangeContext::new(Lease::unowned())
}

async fn ask(connection: &H2Connection, request: Request) -> Result<StreamId, String> {
    let response = connection.exchange(request, terms()).await;
    let response = response.map_err(|error| error.to_string())?;
    let stream = response.extensions().get().copied();
    let body = response.into_body().bytes(100).await;
    let body = body.map_err(|error| error.to_string())?;
    assert_eq!(body, "hello");
    stream.ok_or("no stream".into())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let net = MockNet::new();
    let (stream, server) = net.pair();
    net.spawn("server", async move { drop(serve(server).await) });
    let runtime: Arc<dyn httpcore_core_primitives::Runtime> = Arc::new(net.clone());
    net.run(async {
        let begun = runtime.now();
        let opening = H2Connection::open(stream, runtime.clone(), Arc::new(Http2Config::default()));
        let connection = Arc::new(opening.await?);
        for path in ["first", "second"] {
            let request = Request::new(Body::empty());
            let (mut parts, body) = request.into_parts();
            parts.uri = format!("http://localhost/{path}").parse()?;
            let request = Request::from_parts(parts, body);
            let (connection, runtime) = (connection.clone(), runtime.clone());
            net.spawn("client", async move {
                let outcome = ask(&connection, request).await;
                let after = runtime.now() - begun;
                println!("{path}: {outcome:?} after {after:?}");
            });
        }
        drop(connection);
        sleep_until(&runtime, begun + Duration::from_secs(1)).await;
        Ok(())
    })
}
