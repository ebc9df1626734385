//! TLS without cryptography: handshakes, alerts, tickets and `close_notify`, readable in transcripts.

use std::{future::poll_fn, io};

use httpcore_core_primitives::{Alpn, BoxFuture, BoxStream, NetworkStream, TlsConnector};

use crate::{
    record_layer::{Certificate, Hello, Kind, TICKET},
    tls_error::{MockTlsError, failure},
    tls_stream::TlsStream,
};

/// The client's side: a [`TlsConnector`] for servers made with
/// [`serve_tls`](crate::MockNet::serve_tls), [`Script::start_tls`](crate::Script::start_tls) or
/// [`ServerStream::accept_tls`](crate::ServerStream::accept_tls).
///
/// It has no cryptography; it behaves like TLS. The handshake takes a round trip. The certificate is
/// verified against the server name. A stream that ends without a `close_notify` ends in an error ([`UnexpectedEof`](io::ErrorKind::UnexpectedEof), RFC
/// 8446 §6.1), and one that ends with it ends well. Tickets (RFC 8446 §4.6.1) make the connection
/// below readable and are processed, while reading and while idle.
///
/// A refused certificate is an [`io::Error`] of [`InvalidData`](io::ErrorKind::InvalidData) with a [`TlsFailure`](httpcore_core_primitives::TlsFailure)
/// inside, whose cause is a [`MockTlsError`]; so is an alert, also one after the handshake
/// ([`ServerStream::send_alert`](crate::ServerStream::send_alert)).
#[derive(Clone, Debug, Default)]
pub struct MockTls {
    trusts_anything: bool,
}

impl MockTls {
    /// Returns a client that verifies certificates.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts any certificate.
    pub fn accept_any_certificate(mut self) -> Self {
        self.trusts_anything = true;
        self
    }
}

/// Behaviour of a server in a handshake, and after it.
///
/// ```
/// use httpcore_core_primitives::Alpn;
/// use httpcore_net_mock::TlsServer;
///
/// let modern = TlsServer::new().alpn(&[Alpn::Http2, Alpn::Http1]).tickets(2);
/// let expired = TlsServer::new().bad_certificate("it has expired");
/// # let _ = (modern, expired);
/// ```
#[derive(Clone, Debug, Default)]
pub struct TlsServer {
    alpn: Vec<Alpn>,
    certificate: Option<Certificate>,
    tickets: usize,
    alert: Option<String>,
}

impl TlsServer {
    /// Returns a server without ALPN, whose certificate is valid for every name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the ALPN protocols: the server selects the first of them that the client offers. If it
    /// offers none of them, the handshake fails (RFC 7301 §3.2).
    pub fn alpn(mut self, protocols: &[Alpn]) -> Self {
        self.alpn = protocols.to_vec();
        self
    }

    /// Sets the names of the certificate.
    pub fn certificate_for(mut self, names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.certificate = Some(Certificate::For(names));
        self
    }

    /// Makes the certificate invalid, for this reason.
    pub fn bad_certificate(mut self, fault: &str) -> Self {
        self.certificate = Some(Certificate::Faulty(fault.replace('\n', " ")));
        self
    }

    /// Sends `count` session tickets right after the handshake; see also
    /// [`ServerStream::send_ticket`](crate::ServerStream::send_ticket).
    pub fn tickets(mut self, count: usize) -> Self {
        self.tickets = count;
        self
    }

    /// Fails the handshake with this alert, such as `"handshake_failure"`.
    pub fn alert(mut self, alert: &str) -> Self {
        self.alert = Some(alert.to_owned());
        self
    }

    /// Selects a protocol from `offer`.
    fn choose(&self, offer: &[Alpn]) -> Result<Option<Alpn>, &str> {
        if let Some(alert) = &self.alert {
            return Err(alert);
        }
        if self.alpn.is_empty() || offer.is_empty() {
            return Ok(None);
        }
        // RFC 7301 §3.2: the server chooses among what the client offers, or says that it cannot.
        let chosen = self.alpn.iter().find(|ours| offer.contains(ours));
        chosen.copied().map(Some).ok_or("no_application_protocol")
    }

    pub(crate) async fn accept(&self, below: BoxStream) -> io::Result<TlsStream> {
        let mut stream = TlsStream::over(below);
        let hello = stream.hello().await?;
        let alpn = match self.choose(&hello.alpn) {
            Ok(alpn) => alpn,
            Err(alert) => {
                stream.queue(Kind::Alert, alert.as_bytes());
                poll_fn(|cx| stream.poll_shutdown_below(cx)).await?;
                return Err(failure(MockTlsError::Alert(alert.to_owned())));
            }
        };
        let anything = || Certificate::For(vec!["*".to_owned()]);
        let answer = Hello {
            server_name: None,
            alpn: alpn.into_iter().collect(),
            certificate: Some(self.certificate.clone().unwrap_or_else(anything)),
        };
        stream.queue(Kind::Handshake, answer.text().as_bytes());
        for _ in 0..self.tickets {
            stream.queue(Kind::Handshake, TICKET.as_bytes());
        }
        poll_fn(|cx| stream.poll_flush(cx)).await?;
        stream.set_alpn(alpn);
        Ok(stream)
    }
}

impl TlsConnector for MockTls {
    fn handshake(
        &self,
        stream: BoxStream,
        server_name: &str,
        offer: &[Alpn],
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        let trusts_anything = self.trusts_anything;
        let (name, offer) = (server_name.to_owned(), offer.to_vec());
        Box::pin(async move {
            let mut stream = TlsStream::over(stream);
            let hello = Hello {
                server_name: Some(name.clone()),
                alpn: offer,
                certificate: None,
            };
            stream.queue(Kind::Handshake, hello.text().as_bytes());
            poll_fn(|cx| stream.poll_flush(cx)).await?;
            let answer = stream.hello().await?;
            let fault = match answer.certificate {
                _ if trusts_anything => None,
                Some(Certificate::Faulty(fault)) => Some(MockTlsError::BadCertificate(fault)),
                Some(Certificate::For(names)) if !is_for(&names, &name) => {
                    Some(MockTlsError::WrongName(name))
                }
                _ => None,
            };
            if let Some(fault) = fault {
                stream.queue(Kind::Alert, b"bad_certificate");
                // Best effort: the reason of the failure matters more.
                let _ = poll_fn(|cx| stream.poll_flush(cx)).await;
                return Err(failure(fault));
            }
            stream.set_alpn(answer.alpn.first().copied());
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

fn is_for(names: &[String], name: &str) -> bool {
    names
        .iter()
        .any(|one| one == "*" || one.eq_ignore_ascii_case(name))
}
