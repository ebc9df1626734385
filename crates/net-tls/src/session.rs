//! State machine between ciphertext and plaintext: rustls, without I/O.
//!
//! ```text
//!   read_ciphertext ─► read_plaintext          incoming
//!   write_plaintext ─► send (ciphertext)       outgoing
//! ```
//!
//! No other module of this crate calls a connection of rustls.

use std::{
    io::{self, BufRead, IoSlice, Write},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use httpcore_core_primitives::{Alpn, TlsInfo};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, pki_types};

use crate::error::{TlsError, TlsErrorKind};

/// Maximum number of bytes that are encrypted ahead of the network. Half as much takes twice as
/// many system calls for an upload, and 7 % more of the processor; twice as much saves no more.
const MAX_BUFFERED_CIPHERTEXT_BYTES: usize = 128 * 1024;

/// The client's side of one TLS connection.
pub(crate) struct Session {
    tls: ClientConnection,
    /// The first bytes of the peer, during the handshake: they identify a peer that does not speak
    /// TLS.
    first: First,
    /// Whether rustls may hold plaintext. Cached here, since querying rustls costs more.
    may_have_plaintext: bool,
    /// Whether the peer has sent `close_notify`. Cached likewise.
    close_notify_received: bool,
    /// The stream below has ended.
    has_ended: bool,
    /// Boxed, to keep idle connections small.
    failed: Option<Box<TlsError>>,
}

/// How reading ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer sent `close_notify`.
    CloseNotify,
    /// The stream below ended without `close_notify`.
    Truncated,
    /// The session failed.
    Failed(TlsError),
}

impl Session {
    #[allow(
        clippy::result_large_err,
        reason = "moved once, for a connection attempt that fails"
    )]
    pub(crate) fn new(
        config: Arc<ClientConfig>,
        name: pki_types::ServerName<'static>,
        offer: &[Alpn],
    ) -> Result<Self, TlsError> {
        let offer = offer.iter().map(|alpn| alpn.wire_name().to_vec()).collect();
        let mut tls = ClientConnection::new_with_alpn(config, name, offer)?;
        tls.set_buffer_limit(Some(MAX_BUFFERED_CIPHERTEXT_BYTES));
        Ok(Session {
            tls,
            first: First::default(),
            may_have_plaintext: false,
            close_notify_received: false,
            has_ended: false,
            failed: None,
        })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Decrypts a prefix of `ciphertext` and returns its length. Plaintext must have been read
    /// before, since rustls holds a bounded amount; after the end of reading, all is discarded.
    pub(crate) fn read_ciphertext(&mut self, ciphertext: &[u8]) -> usize {
        if self.failed.is_some() {
            return ciphertext.len();
        }
        if self.tls.is_handshaking() {
            self.first.see(ciphertext);
        }
        let mut rest = ciphertext;
        match self.tls.read_tls(&mut rest) {
            // RFC 8446 §6.1: what follows a close_notify is ignored.
            Ok(0) => return ciphertext.len(),
            Ok(_) => {}
            Err(_) => {
                self.fail(TlsError::new(TlsErrorKind::Protocol));
                return ciphertext.len();
            }
        }
        match self.tls.process_new_packets() {
            Ok(state) => {
                self.may_have_plaintext |= state.plaintext_bytes_to_read() > 0;
                self.close_notify_received = state.peer_has_closed();
            }
            Err(error) => {
                // Plaintext from before the error can still be read.
                self.may_have_plaintext = true;
                self.fail(self.explain(error));
            }
        }
        ciphertext.len() - rest.len()
    }

    /// Processes the end of the stream below.
    pub(crate) fn process_eof(&mut self) {
        if self.failed.is_some() {
            return;
        }
        if self.tls.is_handshaking() {
            let refusal = self.first.not_tls().unwrap_or(TlsErrorKind::Unfinished);
            self.fail(TlsError::new(refusal));
            return;
        }
        self.has_ended = true;
    }

    fn fail(&mut self, error: TlsError) {
        self.failed = Some(Box::new(error));
    }

    fn explain(&self, error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InvalidMessage(_) if self.tls.is_handshaking() => {
                match self.first.not_tls() {
                    Some(refusal) => TlsError::new(refusal),
                    None => error.into(),
                }
            }
            error => error.into(),
        }
    }

    /// Returns whether there is plaintext to read.
    pub(crate) fn has_plaintext(&mut self) -> bool {
        self.may_have_plaintext
            && self
                .tls
                .reader()
                .fill_buf()
                .is_ok_and(|plaintext| !plaintext.is_empty())
    }

    /// Moves plaintext into the spare room of `buf`.
    pub(crate) fn read_plaintext(&mut self, buf: &mut BytesMut) {
        if !self.may_have_plaintext {
            return;
        }
        let mut reader = self.tls.reader();
        loop {
            let room = buf.capacity() - buf.len();
            if room == 0 {
                return;
            }
            // An error means that there is none now or any more: see `end`.
            let plaintext = reader.fill_buf().unwrap_or_default();
            let taken = plaintext.len().min(room);
            if taken == 0 {
                self.may_have_plaintext = false;
                return;
            }
            buf.extend_from_slice(&plaintext[..taken]);
            reader.consume(taken);
        }
    }

    /// How reading ended, if it has. To be called when no plaintext is left.
    #[inline]
    pub(crate) fn end(&self) -> Option<End> {
        let is_over = self.close_notify_received || self.has_ended || self.failed.is_some();
        if is_over { self.ending() } else { None }
    }

    fn ending(&self) -> Option<End> {
        if let Some(error) = &self.failed {
            return Some(End::Failed(TlsError::clone(error)));
        }
        if self.close_notify_received {
            return Some(End::CloseNotify);
        }
        self.has_ended.then_some(End::Truncated)
    }

    /// Encrypts a prefix of the concatenation of `bufs` and returns its length: 0 while
    /// [`MAX_BUFFERED_CIPHERTEXT_BYTES`] wait to be sent.
    pub(crate) fn write_plaintext(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut full = bufs.iter().filter(|buf| !buf.is_empty());
        match (full.next(), full.next()) {
            (Some(only), None) => self.tls.writer().write(only),
            // Allocates, to make them contiguous.
            _ => self.tls.writer().write_vectored(bufs),
        }
    }

    /// Queues a `close_notify`. Nothing is encrypted after it.
    pub(crate) fn send_close_notify(&mut self) {
        self.tls.send_close_notify();
    }

    /// Returns whether there is ciphertext to be sent.
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Writes ciphertext to `below` once, and discards what was written.
    pub(crate) fn send(&mut self, below: &mut dyn Write) -> io::Result<usize> {
        self.tls.write_tls(below)
    }

    /// Releases the memory that only a busy stream needs.
    pub(crate) fn shrink(&mut self) {
        // rustls releases memory beyond 4 KiB at the beginning of a read. This one would block.
        let _ = self.tls.read_tls(&mut NoData);
    }

    /// The results of the handshake. Copies the peer certificates.
    pub(crate) fn info(&self) -> TlsInfo {
        let mut info = TlsInfo::default();
        info.alpn = self.tls.alpn_protocol().and_then(Alpn::from_wire_name);
        info.version = match self.tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Some("TLS 1.2"),
            Some(ProtocolVersion::TLSv1_3) => Some("TLS 1.3"),
            _ => None,
        };
        let suite = self.tls.negotiated_cipher_suite();
        info.cipher_suite = suite.and_then(|suite| suite.suite().as_str());
        let group = self.tls.negotiated_key_exchange_group();
        info.key_exchange = group.and_then(|group| group.name().as_str());
        let chain = self.tls.peer_certificates().unwrap_or_default();
        info.peer_chain = chain
            .iter()
            .map(|certificate| Bytes::copy_from_slice(certificate))
            .collect();
        info.resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        info
    }
}

/// A reader that would block.
struct NoData;

impl io::Read for NoData {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// The first bytes received from the peer.
#[derive(Default)]
struct First {
    bytes: [u8; 5],
    seen: u8,
}

impl First {
    fn see(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let Some(free) = self.bytes.get_mut(usize::from(self.seen)) else {
                return;
            };
            *free = *byte;
            self.seen += 1;
        }
    }

    /// The error kind of a peer that does not speak TLS.
    fn not_tls(&self) -> Option<TlsErrorKind> {
        let first = &self.bytes[..usize::from(self.seen)];
        // RFC 8446 §5.1: a server begins with an alert (21) or a handshake message (22), and the
        // version that follows begins with 3.
        if let [] | [21 | 22] | [21 | 22, 3, ..] = first {
            return None;
        }
        // Some servers answer with an HTML page without a status line.
        let http = first[0] == b'<' || first.eq_ignore_ascii_case(&b"HTTP/"[..first.len()]);
        Some(TlsErrorKind::NotTls { http })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_without_tls_is_recognised_by_its_first_bytes() {
        for (bytes, refusal) in [
            (&b""[..], None),
            (b"\x16", None),
            (b"\x16\x03\x03\0\x01", None),
            (b"\x15\x03\x01", None),
            (b"\x16\x02", Some(TlsErrorKind::NotTls { http: false })),
            (b"H", Some(TlsErrorKind::NotTls { http: true })),
            (b"HTTP/1.1 400", Some(TlsErrorKind::NotTls { http: true })),
            (b"<!DOCTYPE", Some(TlsErrorKind::NotTls { http: true })),
            (b"SSH-2.0", Some(TlsErrorKind::NotTls { http: false })),
        ] {
            let mut first = First::default();
            for byte in bytes {
                first.see(&[*byte]);
            }
            assert_eq!(first.not_tls(), refusal, "{bytes:?}");
        }
    }
}
