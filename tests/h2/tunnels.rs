//! CONNECT, plain and extended: a stream of bytes in a stream of frames.

use std::{future::poll_fn, io::IoSlice};

use bytes::BytesMut;
use httpcore::{Body, Upgraded, backend::NetworkStream, extensions::Protocol};
use httpcore_tests::{
    h2_peer::{
        frames::{code, data, headers, kind, ok, reset, setting, settings},
        record::Record,
        script::{Case, Next, Step, case, play, say},
    },
    suite::{Client, Story, tell, tell_error},
};

/// Asks for a tunnel, says `hello`, and tells what comes until the end.
fn talk(client: Client, request: httpcore::Request) -> Story {
    Box::pin(async move {
        let mut response = match client.pool.request(request).await {
            Ok(response) => response,
            Err(error) => return tell_error(&error),
        };
        let Ok(mut stream) = Upgraded::take_from(&mut response).ok_or(()) else {
            return tell(response).await;
        };
        let mut told = format!("{}:", response.status().as_u16());
        let hello = [IoSlice::new(b"hello")];
        // The other side may be gone already. What it has said can be read all the same.
        let _ = poll_fn(|cx| stream.poll_write(cx, &hello)).await;
        loop {
            let mut heard = BytesMut::with_capacity(100);
            match poll_fn(|cx| stream.poll_read(cx, &mut heard)).await {
                Ok(0) => break,
                Ok(_) => told.push_str(&format!(" {:?}", String::from_utf8_lossy(&heard))),
                Err(error) => return format!("{told} {:?}", error.kind()),
            }
        }
        if let Err(error) = poll_fn(|cx| stream.poll_shutdown(cx)).await {
            return format!("{told} {:?}", error.kind());
        }
        format!("{told} the end")
    })
}

fn extended(client: Client) -> Story {
    let mut request = client.request("CONNECT", "/chat", Body::empty());
    request.extensions_mut().insert(Protocol::new("websocket"));
    talk(client, request)
}

fn plain(client: Client) -> Story {
    let mut request = client.request("CONNECT", "/", Body::empty());
    *request.uri_mut() = "http://server.test:80".parse().unwrap();
    talk(client, request)
}

fn head(record: &Record) -> String {
    let fields = record.head(1).unwrap().fields.unwrap();
    let lines = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"));
    lines.collect()
}

/// A server that knows extended CONNECT.
fn knowing(name: &'static str, steps: impl Into<Vec<Step>>) -> Case {
    case(name, steps)
        .settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 1)])
        .client(extended)
}

#[test]
fn extended_connect() {
    play(&[
        knowing(
            "RFC 8441 §5: a stream both ways",
            [
                Step::Request,
                say([ok(1), data(1, "well")]),
                Step::Frame(kind::DATA),
                say([data(1, "come").end()]),
                Step::End(1),
            ],
        )
        .fine("200: \"well\" \"come\" the end")
        .check(|record| {
            assert_eq!(
                head(record),
                ":method: CONNECT\n:scheme: http\n:authority: server.test\n:path: /chat\n\
                 :protocol: websocket\n"
            );
            assert_eq!(record.body(1), b"hello");
        }),
        knowing(
            "RFC 8441 §5: a reset is an error and not the end",
            [
                Step::Request,
                say([ok(1), data(1, "well"), reset(1, code::CANCEL)]),
            ],
        )
        .fine("200: \"well\" ConnectionReset"),
        knowing(
            "RFC 8441 §5: what is refused is a response",
            [
                Step::Request,
                say([headers(1, &[(":status", "403")]), data(1, "no").end()]),
            ],
        )
        .outcome("403 \"no\"", "RST_STREAM 1 CANCEL", Next::Here),
        knowing(
            "RFC 8441 §5: a connection that is closed is an error",
            [Step::Request, say([ok(1)]), Step::Close],
        )
        .outcome("200: UnexpectedEof", "", Next::Elsewhere),
        case(
            "RFC 8441 §3: a server which does not know it is not asked",
            [],
        )
        .client(extended)
        .fine(
            "InvalidRequest in Request, sent None, response not begun, connection new, attempts 1",
        ),
        case(
            "RFC 8441 §3: a server is not asked before it has said that it knows it",
            [
                Step::Wait(std::time::Duration::from_secs(1)),
                say([settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 1)])]),
                Step::Request,
                say([ok(1).end()]),
            ],
        )
        .without_settings()
        .client(extended)
        .outcome("200: the end", "", Next::Here),
    ]);
}

#[test]
fn plain_connect() {
    play(&[
        case(
            "RFC 9113 §8.5: a tunnel",
            [
                Step::Request,
                say([ok(1)]),
                Step::Frame(kind::DATA),
                say([data(1, "there").end()]),
                Step::End(1),
            ],
        )
        .client(plain)
        .fine("200: \"there\" the end")
        .check(|record| {
            assert_eq!(
                head(record),
                ":method: CONNECT\n:authority: server.test:80\n"
            );
            assert_eq!(record.body(1), b"hello");
        }),
        case(
            "RFC 9113 §8.5: a tunnel whose other end was reset",
            [Step::Request, say([ok(1), reset(1, code::CONNECT_ERROR)])],
        )
        .client(plain)
        .fine("200: ConnectionReset"),
    ]);
}
