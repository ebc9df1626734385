//! Servers as scripts: what is expected and what is sent, in order.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    expect::{Piece, shown},
    tls::TlsServer,
};

/// The server's side of one connection, step by step.
///
/// The client must send exactly what is expected: the first byte that differs fails the test, with both
/// versions and what had been sent before. After the last step the client may only close.
///
/// A client that closes too early is not a mismatch, since a test may want that; the script is left
/// unfinished, which [`assert_finished`](crate::ServerHandle::assert_finished) reports.
///
/// ```
/// use httpcore_net_mock::{MockNet, Script};
/// use std::time::Duration;
///
/// let net = MockNet::new();
/// let shop = net.serve_script("shop.test", 80, Script::new()
///     .expect_request("GET /price", &[("host", "shop.test")])
///     .wait(Duration::from_millis(50))
///     .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n42"));
/// // … run a client, and then:
/// assert_eq!(shop.remaining().len(), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Expect(Vec<Piece>),
    ExpectRequest {
        start: String,
        fields: Vec<(String, String)>,
    },
    ExpectEnd,
    Send(Bytes),
    Wait(Duration),
    HalfClose,
    Close,
    Reset,
    Stall,
    StartTls(TlsServer),
}

impl Script {
    /// Returns a script without steps, which expects only the end.
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects these bytes.
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Self {
        self.expect_pieces(vec![Piece::Exactly(Bytes::copy_from_slice(bytes.as_ref()))])
    }

    pub(crate) fn expect_pieces(self, pieces: Vec<Piece>) -> Self {
        self.step(Step::Expect(pieces))
    }

    /// Expects the head of an HTTP/1 request: `start` is its method and target, as in
    /// `"GET /index.html"`; each of `fields` must be present, among others. Field names are compared
    /// case-insensitively.
    pub fn expect_request(self, start: &str, fields: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.step(Step::ExpectRequest {
            start: start.to_owned(),
            fields: fields.iter().map(owned).collect(),
        })
    }

    /// Expects the client to close one direction or both.
    pub fn expect_end(self) -> Self {
        self.step(Step::ExpectEnd)
    }

    /// Sends these bytes.
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(Bytes::copy_from_slice(bytes.as_ref())))
    }

    /// Waits for `duration` of virtual time.
    pub fn wait(self, duration: Duration) -> Self {
        self.step(Step::Wait(duration))
    }

    /// Closes the sending direction, and goes on reading.
    pub fn half_close(self) -> Self {
        self.step(Step::HalfClose)
    }

    /// Closes the connection.
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Resets the connection.
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// Holds the connection for ever, without reading or writing.
    pub fn stall(self) -> Self {
        self.step(Step::Stall)
    }

    /// Sends `101 Switching Protocols` to `protocol` (RFC 9110 §15.2.2). The steps that follow exchange
    /// bytes of that protocol.
    pub fn upgrade(self, protocol: &str) -> Self {
        self.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n"
        ))
    }

    /// Answers a TLS handshake. The steps that follow are inside TLS.
    pub fn start_tls(self, server: TlsServer) -> Self {
        self.step(Step::StartTls(server))
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl Step {
    pub(crate) fn name(&self) -> String {
        match self {
            Step::Expect(pattern) => format!("expect {} bytes", shown(pattern).len()),
            Step::ExpectRequest { start, .. } => format!("expect the request {start:?}"),
            Step::ExpectEnd => "expect the end".to_owned(),
            Step::Send(bytes) => format!("send {} bytes", bytes.len()),
            Step::Wait(duration) => format!("wait {duration:?}"),
            Step::HalfClose => "close the writing side".to_owned(),
            Step::Close => "close".to_owned(),
            Step::Reset => "reset".to_owned(),
            Step::Stall => "stall".to_owned(),
            Step::StartTls(_) => "start TLS".to_owned(),
        }
    }
}
