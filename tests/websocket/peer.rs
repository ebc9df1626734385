//! The other end: a server that accepts, sends what the test says, and notes what it hears.

use std::sync::{Arc, Mutex};

use httpcore::{
    ConnectionPool,
    ws::{Config, Handshake, Message, MessageError, WebSocket},
};
use httpcore_net_mock::{Link, MockNet};

/// The key of RFC 6455 §1.3, and what has to be said to it.
pub(crate) const KEY: [u8; 16] = *b"the sample nonce";
pub(crate) const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

pub(crate) fn handshake() -> Handshake {
    Handshake::new("ws://server.test/").key(KEY)
}

/// A frame as a server sends it: its first byte (FIN, reserved bits, opcode), length, payload.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(length as u8),
        length @ 126..65_536 => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A close frame with a code and a reason.
pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x88, [&code.to_be_bytes()[..], reason.as_ref()].concat())
}

/// A frame of a client's: its first byte, and its payload without the mask.
pub(crate) type Heard = (u8, Vec<u8>);

/// The frames in `bytes`, which a client has sent: all of them masked, the last one whole.
pub(crate) fn heard(mut bytes: &[u8]) -> Vec<Heard> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        assert_ne!(second & 0x80, 0, "RFC 6455 §5.1: a client masks");
        let (length, rest) = match second & 0x7f {
            126 => (
                u16::from_be_bytes(rest[..2].try_into().unwrap()).into(),
                &rest[2..],
            ),
            127 => (
                u64::from_be_bytes(rest[..8].try_into().unwrap()),
                &rest[8..],
            ),
            length => (length.into(), rest),
        };
        let (mask, rest) = rest.split_at(4);
        let (payload, rest) = rest.split_at(length as usize);
        let masks = mask.iter().cycle();
        let payload = payload.iter().zip(masks).map(|(byte, mask)| byte ^ mask);
        frames.push((*first, payload.collect()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame: {bytes:?}");
    frames
}

/// Frames in a line: opcode, `-` if more follow, and payload.
pub(crate) fn told(frames: &[Heard]) -> String {
    let told = frames.iter().map(|(first, payload)| {
        let opcode = match first & 0x0f {
            0 => "more",
            1 => "text",
            2 => "binary",
            8 => "close",
            9 => "ping",
            10 => "pong",
            _ => "?",
        };
        let more = if first & 0x80 == 0 { "-" } else { "" };
        let payload = match (first & 0x0f, payload.len()) {
            (_, 0) => String::new(),
            (8, _) => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                format!(" {code}{}", String::from_utf8_lossy(&payload[2..]))
            }
            (_, 1..20) => format!(" {}", String::from_utf8_lossy(payload)),
            (_, length) => format!(" {length}"),
        };
        format!("{opcode}{more}{payload}")
    });
    told.collect::<Vec<_>>().join(", ")
}

/// A message in a word.
pub(crate) fn message(message: &Result<Message, MessageError>) -> String {
    let short = |name: &str, data: &[u8]| match data.len() {
        0..20 => format!("{name} {:?}", String::from_utf8_lossy(data)),
        length => format!("{name} of {length}"),
    };
    match message {
        Ok(Message::Text(text)) => short("text", text.as_bytes()),
        Ok(Message::Binary(data)) => short("binary", data),
        Ok(Message::Ping(data)) => short("ping", data),
        Ok(Message::Pong(data)) => short("pong", data),
        Ok(Message::Close(None)) => "close".to_owned(),
        Ok(Message::Close(Some(close))) => format!("close {} {:?}", close.code, &*close.reason),
        Ok(Message::Frame(_)) => "a frame".to_owned(),
        Err(MessageError::Io(error)) => format!("failed: {:?}", error.kind()),
        Err(MessageError::Truncated) => "truncated".to_owned(),
        Err(MessageError::Protocol(_)) => "against the rules".to_owned(),
        Err(MessageError::TooLarge(_)) => "too large".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

/// What a client receives from a server that says `frames` and then listens, and what the server
/// hears.
pub(crate) fn receive(link: Link, frames: &[u8], config: Config) -> (String, String) {
    let net = MockNet::new();
    let said: Arc<[u8]> = frames.into();
    let noted = Arc::<Mutex<Vec<u8>>>::default();
    let notes = noted.clone();
    net.serve("server.test", 80, move |mut stream| {
        let (said, noted) = (said.clone(), notes.clone());
        async move {
            stream.read_head().await.unwrap();
            // With the answer: what comes together with it must not be lost.
            let answer = [ACCEPTED.as_bytes(), &said].concat();
            // A client which has heard enough may have gone.
            let _ = stream.write_all(answer).await;
            let _ = stream.close_write().await;
            while let Ok(some) = stream.read_some().await
                && !some.is_empty()
            {
                noted.lock().unwrap().extend_from_slice(&some);
            }
        }
    })
    .link(link);
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    let received = net.run(async {
        let opened = pool.websocket(handshake()).await.unwrap();
        let mut socket = WebSocket::new(opened.stream, config);
        let mut received = Vec::new();
        while let Some(next) = socket.message().await {
            received.push(message(&next));
            if next.is_err() {
                // It is returned again, and never the end.
                let again = socket.message().await.map(|next| message(&next));
                assert_eq!(again.as_ref(), received.last());
                assert!(socket.close(None).await.is_err());
                break;
            }
        }
        received.join(", ")
    });
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts().streams, 0);
    let heard = heard(&noted.lock().unwrap());
    (received, told(&heard))
}
