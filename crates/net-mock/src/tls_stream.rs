//! Either side of a connection under TLS without cryptography, once there is one.

use std::{
    fmt,
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    Alpn, BoxStream, ConnectionInfo, IdleEvent, NetworkStream, TlsInfo,
};

use crate::{
    record_layer::{CLOSE_NOTIFY, Hello, Kind, MAX_RECORD_BYTES, Record, TICKET, decode, encode},
    tls_error::{MockTlsError, failure},
};

/// Either side of a connection protected by nothing.
pub(crate) struct TlsStream {
    below: BoxStream,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Data that has been taken out of its record, and not yet been read.
    plain: BytesMut,
    /// Tickets and whatever else a handshake may still bring are digested; a hello is kept here.
    hello: Option<Hello>,
    end: Option<End>,
    sent_close_notify: bool,
    info: Arc<TlsInfo>,
}

/// How reading ended.
#[derive(Clone, Debug)]
enum End {
    CloseNotify,
    Truncated,
    Alert(String),
    NotTls,
    Failed(ErrorKind),
}

impl TlsStream {
    pub(crate) fn over(below: BoxStream) -> Self {
        TlsStream {
            below,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            plain: BytesMut::new(),
            hello: None,
            end: None,
            sent_close_notify: false,
            info: Arc::default(),
        }
    }

    pub(crate) fn set_alpn(&mut self, alpn: Option<Alpn>) {
        let mut info = TlsInfo::default();
        info.alpn = alpn;
        self.info = Arc::new(info);
    }

    pub(crate) fn queue(&mut self, kind: Kind, content: &[u8]) {
        encode(kind, content, &mut self.outgoing);
    }

    pub(crate) fn queue_ticket(&mut self) {
        self.queue(Kind::Handshake, TICKET.as_bytes());
    }

    pub(crate) fn queue_alert(&mut self, alert: &str) {
        self.queue(Kind::Alert, alert.as_bytes());
    }

    /// The other side's hello.
    pub(crate) async fn hello(&mut self) -> io::Result<Hello> {
        poll_fn(|cx| {
            loop {
                if let Some(hello) = self.hello.take() {
                    return Poll::Ready(Ok(hello));
                }
                if !self.plain.is_empty() {
                    return Poll::Ready(Err(failure(MockTlsError::NotTls)));
                }
                match &self.end {
                    None => ready!(self.poll_record(cx)),
                    Some(End::CloseNotify | End::Truncated) => {
                        return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
                    }
                    Some(end) => return Poll::Ready(Err(end.error())),
                }
            }
        })
        .await
    }

    /// Digests one record, or learns how reading ends.
    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match decode(&mut self.incoming) {
                Ok(Some(record)) => {
                    self.process_incoming(&record);
                    return Poll::Ready(());
                }
                Err(_) => {
                    self.end = Some(End::NotTls);
                    return Poll::Ready(());
                }
                Ok(None) => {}
            }
            if self.incoming.is_empty() {
                // An idle stream holds no buffer while it waits.
                self.incoming = BytesMut::new();
            }
            let mut arrived = BytesMut::with_capacity(READ);
            match ready!(self.below.poll_read(cx, &mut arrived)) {
                Ok(0) => {
                    self.end = Some(End::Truncated);
                    return Poll::Ready(());
                }
                Ok(_) => self.incoming.extend_from_slice(&arrived),
                Err(error) => {
                    self.end = Some(End::Failed(error.kind()));
                    return Poll::Ready(());
                }
            }
        }
    }

    fn process_incoming(&mut self, record: &Record) {
        let text = String::from_utf8_lossy(&record.content);
        match record.kind {
            Kind::Data => self.plain.extend_from_slice(&record.content),
            Kind::Alert if text == CLOSE_NOTIFY => self.end = Some(End::CloseNotify),
            Kind::Alert => self.end = Some(End::Alert(text.into_owned())),
            Kind::Handshake if text == TICKET => {}
            Kind::Handshake => match Hello::parse(&record.content) {
                Some(hello) => self.hello = Some(hello),
                None => self.end = Some(End::NotTls),
            },
        }
    }

    fn poll_write_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let bufs = [IoSlice::new(&self.outgoing)];
            let written = ready!(self.below.poll_write(cx, &bufs))?;
            drop(self.outgoing.split_to(written));
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_shutdown_below(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_outgoing(cx))?;
        self.below.poll_shutdown(cx)
    }
}

impl End {
    fn error(&self) -> io::Error {
        match self {
            // RFC 8446 §6.1: an end without close_notify may be a truncation attack.
            End::CloseNotify | End::Truncated => ErrorKind::UnexpectedEof.into(),
            End::Alert(alert) => failure(MockTlsError::Alert(alert.clone())),
            End::NotTls => failure(MockTlsError::NotTls),
            End::Failed(kind) => (*kind).into(),
        }
    }
}

impl NetworkStream for TlsStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            if !self.plain.is_empty() {
                let part = self.plain.len().min(buf.capacity() - buf.len());
                buf.extend_from_slice(&self.plain.split_to(part));
                return Poll::Ready(Ok(part));
            }
            match &self.end {
                None => ready!(self.poll_record(cx)),
                Some(End::CloseNotify) => return Poll::Ready(Ok(0)),
                Some(end) => return Poll::Ready(Err(end.error())),
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.sent_close_notify {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        // One record at a time waits below: back-pressure from there reaches the caller.
        ready!(self.poll_write_outgoing(cx))?;
        let mut content = BytesMut::new();
        for buf in bufs {
            let part = buf.len().min(MAX_RECORD_BYTES - content.len());
            content.extend_from_slice(&buf[..part]);
        }
        self.queue(Kind::Data, &content);
        let whole = self.outgoing.len();
        match self.poll_write_outgoing(cx) {
            // A caller may send the same bytes elsewhere after a failed write.
            Poll::Ready(Err(error)) if self.outgoing.len() == whole => Poll::Ready(Err(error)),
            Poll::Ready(Err(_)) => Poll::Ready(Ok(content.len())),
            // What could not be written yet is kept, and written by the next call or by a flush.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(content.len())),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_outgoing(cx))?;
        self.below.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.sent_close_notify {
            self.sent_close_notify = true;
            self.queue(Kind::Alert, CLOSE_NOTIFY.as_bytes());
        }
        self.poll_shutdown_below(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        loop {
            if !self.plain.is_empty() {
                return Poll::Ready(IdleEvent::UnsolicitedData);
            }
            match &self.end {
                None => ready!(self.poll_record(cx)),
                Some(End::CloseNotify | End::Truncated) => return Poll::Ready(IdleEvent::Closed),
                Some(end) => return Poll::Ready(IdleEvent::Failed(end.error().kind())),
            }
        }
    }

    fn info(&self) -> ConnectionInfo {
        let mut info = self.below.info();
        info.tls = Some(self.info.clone());
        info
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("below", &self.below)
            .field("alpn", &self.info.alpn)
            .finish_non_exhaustive()
    }
}

/// How much is read from below at once: a record and its header.
const READ: usize = MAX_RECORD_BYTES + 5;
