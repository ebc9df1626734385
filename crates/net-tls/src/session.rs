//! The machine between ciphertext and plaintext: rustls, without I/O.
//!
//! ```text
//!   feed(ciphertext) ─► drain(plaintext)          incoming
//!   push(plaintext)  ─► send(ciphertext)          outgoing
//! ```
//!
//! Nothing else in this crate calls a connection of rustls.

use std::{
    io::{self, BufRead, IoSlice, Write},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use httpcore_core_primitives::{Alpn, TlsInfo};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, pki_types};

use crate::error::{TlsError, TlsErrorKind};

/// How much plaintext may be encrypted ahead of the network, in bytes. Half as much takes twice as
/// many system calls for an upload, and 7 % more of the processor; twice as much saves no more.
const MAX_BUFFERED_CIPHERTEXT_BYTES: usize = 128 * 1024;

/// One client's side of TLS.
pub(crate) struct Session {
    tls: ClientConnection,
    /// The first bytes of the peer, until the handshake is over: they tell what it is, if it is
    /// not TLS.
    first: First,
    /// What rustls would say if it were asked, since asking costs more than remembering: it may
    /// have plaintext to be drained,
    may_have_plaintext: bool,
    /// and the peer has said goodbye.
    heard_goodbye: bool,
    /// The stream below has ended.
    has_ended: bool,
    /// In a box, since every idle connection has room for it and hardly one needs it.
    failed: Option<Box<TlsError>>,
}

/// How reading ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With a `close_notify`.
    Goodbye,
    /// Without one.
    Truncated,
    /// In an error.
    Failed(TlsError),
}

impl Session {
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
            heard_goodbye: false,
            has_ended: false,
            failed: None,
        })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Takes some ciphertext, and returns how much. Plaintext must have been drained before, since
    /// only so much of it is held; after the end of reading everything is taken and forgotten.
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
                self.heard_goodbye = state.peer_has_closed();
            }
            Err(error) => {
                // What came before it is still there.
                self.may_have_plaintext = true;
                self.fail(self.explain(error));
            }
        }
        ciphertext.len() - rest.len()
    }

    /// The stream below has ended.
    pub(crate) fn feed_end(&mut self) {
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

    /// Whether there is plaintext to be drained.
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
            // An error is nothing for now, or an end: `end` tells which.
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

    /// How reading ended, if it did. Ask when there is no plaintext left.
    #[inline]
    pub(crate) fn end(&self) -> Option<End> {
        let is_over = self.heard_goodbye || self.has_ended || self.failed.is_some();
        if is_over { self.how_it_ended() } else { None }
    }

    fn how_it_ended(&self) -> Option<End> {
        if let Some(error) = &self.failed {
            return Some(End::Failed(TlsError::clone(error)));
        }
        if self.heard_goodbye {
            return Some(End::Goodbye);
        }
        self.has_ended.then_some(End::Truncated)
    }

    /// Encrypts some prefix of the concatenation of `bufs`; nothing, when as much as may be is
    /// waiting to be sent.
    pub(crate) fn write_plaintext(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut full = bufs.iter().filter(|buf| !buf.is_empty());
        match (full.next(), full.next()) {
            (Some(only), None) => self.tls.writer().write(only),
            // This allocates, to have them in a row.
            _ => self.tls.writer().write_vectored(bufs),
        }
    }

    /// Says that nothing more will be pushed.
    pub(crate) fn send_close_notify(&mut self) {
        self.tls.send_close_notify();
    }

    /// Whether there is ciphertext to be sent.
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Hands ciphertext to `below` once, and forgets what that took.
    pub(crate) fn send(&mut self, below: &mut dyn Write) -> io::Result<usize> {
        self.tls.write_tls(below)
    }

    /// Gives back the memory that only a busy stream needs.
    pub(crate) fn shrink(&mut self) {
        // rustls gives up what it has beyond 4 KiB at the beginning of a read; this one brings
        // nothing, and is no end.
        let _ = self.tls.read_tls(&mut Nothing);
    }

    /// What the handshake has settled. Peer certificates are copied here.
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

/// A reader with nothing to read for now.
struct Nothing;

impl io::Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// The first bytes of the peer.
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

    /// What the peer speaks, if it is not TLS.
    fn not_tls(&self) -> Option<TlsErrorKind> {
        let first = &self.bytes[..usize::from(self.seen)];
        // RFC 8446 §5.1: a server begins with an alert (21) or a handshake message (22), and the
        // version that follows begins with 3.
        if let [] | [21 | 22] | [21 | 22, 3, ..] = first {
            return None;
        }
        // Some servers answer what they cannot read with a page, and no status line before it.
        let http = first[0] == b'<' || first.eq_ignore_ascii_case(&b"HTTP/"[..first.len()]);
        Some(TlsErrorKind::NotTls { http })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_tls_is_known_by_its_first_bytes() {
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
