//! Recording real traffic.

use std::{
    fmt, io,
    io::IoSlice,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use httpcore_core_primitives::{
    Alpn, BoxFuture, BoxStream, ConnectionInfo, IdleEvent, NetworkBackend, NetworkStream, Runtime,
    TcpOptions, Timer, TlsConnector,
};

use crate::{
    capture::{Capture, CapturedConnection, RawEvent},
    hosts::ListenAddr,
    recording::{Event, recordable},
    redact::SECRETS,
    sync::lock,
};

/// A backend that wraps another one and records its connections: bytes, times, results of ALPN. A
/// recording is readable text for [`MockNet::replay`](crate::MockNet::replay).
///
/// The backend sees only ciphertext of TLS. To record the plaintext, wrap the TLS connector too, with
/// [`tls`](Self::tls).
///
/// Redacted are the values of the fields `Authorization`, `Proxy-Authorization`, `Cookie` and
/// `Set-Cookie`, those named with [`redact`](Self::redact), and all header blocks of HTTP/2, which can
/// only be decoded together. Secrets elsewhere are not redacted: in targets, in bodies, in protocols
/// after an upgrade.
///
/// The recording is kept in memory, without a limit.
#[derive(Clone)]
pub struct Recorder {
    backend: Arc<dyn NetworkBackend>,
    capture: Arc<Mutex<Capture>>,
}

impl Recorder {
    /// Returns a recorder around `backend`.
    pub fn new(backend: Arc<dyn NetworkBackend>) -> Self {
        let capture = Capture {
            redacted: SECRETS.map(str::to_owned).to_vec(),
            ..Capture::default()
        };
        Recorder {
            backend,
            capture: Arc::new(Mutex::new(capture)),
        }
    }

    /// Redacts the values of this field too, in both directions.
    pub fn redact(self, field: &str) -> Self {
        lock(&self.capture)
            .redacted
            .push(field.to_ascii_lowercase());
        self
    }

    /// Records everything, secrets included. Such a recording is a secret itself.
    pub fn without_redaction(self) -> Self {
        lock(&self.capture).keeps_secrets = true;
        self
    }

    /// Returns a TLS connector around `connector` that records the plaintext of connections of this
    /// recorder.
    pub fn tls(&self, connector: Arc<dyn TlsConnector>) -> impl TlsConnector + Clone {
        RecordingTls {
            connector,
            recorder: self.clone(),
        }
    }

    /// Returns the recording so far.
    pub fn text(&self) -> String {
        lock(&self.capture).recording().text()
    }

    /// Writes the recording so far to a file.
    ///
    /// # Errors
    ///
    /// Those of writing a file.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.text())
    }

    fn begin(&self, place: ListenAddr) -> usize {
        let began = self.backend.now();
        let mut state = lock(&self.capture);
        state.connections.push(CapturedConnection {
            place,
            began,
            ends: (None, None),
            layers: 0,
            open: false,
            events: Vec::new(),
        });
        state.connections.len() - 1
    }

    fn note(&self, connection: usize, raw: RawEvent) {
        let now = self.backend.now();
        if let Some(one) = lock(&self.capture).connections.get_mut(connection) {
            let at = now.saturating_duration_since(one.began);
            one.events.push((at, raw));
        }
    }

    fn opened(&self, connection: usize, outcome: io::Result<BoxStream>) -> io::Result<BoxStream> {
        let stream = match outcome {
            Ok(stream) => stream,
            Err(error) => {
                let kind = recordable(error.kind());
                self.note(connection, RawEvent::Other(Event::Failed(kind)));
                return Err(error);
            }
        };
        self.note(connection, RawEvent::Other(Event::Open));
        let info = stream.info();
        if let Some(one) = lock(&self.capture).connections.get_mut(connection) {
            one.ends = (info.local, info.peer);
            one.open = true;
        }
        Ok(self.stream(stream, connection, 0))
    }

    fn stream(&self, stream: BoxStream, connection: usize, layer: usize) -> BoxStream {
        Box::new(RecordedStream {
            stream,
            recorder: self.clone(),
            connection,
            layer,
            ended: false,
        })
    }

    /// The connection of which `stream` is the uppermost layer, which is about to get another.
    fn cover(&self, stream: &BoxStream) -> Option<(usize, usize)> {
        let info = stream.info();
        let mut state = lock(&self.capture);
        let ends = (info.local, info.peer);
        let of_this = |one: &CapturedConnection| one.open && one.ends == ends && ends.1.is_some();
        let at = state.connections.iter().rposition(of_this)?;
        let one = &mut state.connections[at];
        one.layers += 1;
        Some((at, one.layers))
    }
}

impl Runtime for Recorder {
    fn now(&self) -> Instant {
        self.backend.now()
    }

    fn timer(&self, purpose: &'static str) -> Box<dyn Timer> {
        self.backend.timer(purpose)
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.backend.spawn(name, task);
    }
}

impl NetworkBackend for Recorder {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let (looking, recorder) = (self.backend.resolve(host, port), self.clone());
        let host = host.to_ascii_lowercase();
        Box::pin(async move {
            let answer = looking.await;
            let noted = match &answer {
                Ok(addresses) => Ok(addresses.iter().map(SocketAddr::ip).collect()),
                Err(error) => Err(recordable(error.kind())),
            };
            let mut state = lock(&recorder.capture);
            if !state.names.iter().any(|(name, _)| *name == host) {
                state.names.push((host, noted));
            }
            drop(state);
            answer
        })
    }

    fn connect_tcp(
        &self,
        peer: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (connecting, recorder) = (self.backend.connect_tcp(peer, options), self.clone());
        Box::pin(async move {
            let connection = recorder.begin(ListenAddr::Tcp(peer));
            recorder.opened(connection, connecting.await)
        })
    }

    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (connecting, recorder) = (self.backend.connect_unix(path), self.clone());
        let place = ListenAddr::Unix(path.to_owned());
        Box::pin(async move {
            let connection = recorder.begin(place);
            recorder.opened(connection, connecting.await)
        })
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("backend", &self.backend)
            .field("connections", &lock(&self.capture).connections.len())
            .finish_non_exhaustive()
    }
}

/// Records one layer of a connection, as long as it is the uppermost.
struct RecordedStream {
    stream: BoxStream,
    recorder: Recorder,
    connection: usize,
    layer: usize,
    /// The client has ended what it has to say.
    ended: bool,
}

impl RecordedStream {
    fn note(&self, raw: RawEvent) {
        let state = lock(&self.recorder.capture);
        let is_top = state.connections[self.connection].layers == self.layer;
        drop(state);
        if is_top {
            self.recorder.note(self.connection, raw);
        }
    }

    fn failed(&self, error: &io::Error) {
        let kind = recordable(error.kind());
        self.note(RawEvent::Other(Event::ServerFailed(kind)));
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.note(RawEvent::Other(Event::ClientEnd));
        }
    }
}

impl NetworkStream for RecordedStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        let before = buf.len();
        let outcome = ready!(self.stream.poll_read(cx, buf));
        match &outcome {
            Ok(0) => self.note(RawEvent::Other(Event::ServerEnd)),
            Ok(_) => self.note(RawEvent::Server(Bytes::copy_from_slice(&buf[before..]))),
            Err(error) => self.failed(error),
        }
        Poll::Ready(outcome)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream.poll_write(cx, bufs))?;
        let mut taken = BytesMut::with_capacity(written);
        for buf in bufs {
            let part = buf.len().min(written - taken.len());
            taken.extend_from_slice(&buf[..part]);
        }
        self.note(RawEvent::Client(taken.freeze()));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream.poll_shutdown(cx))?;
        self.end();
        Poll::Ready(Ok(()))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        let end = ready!(self.stream.poll_idle(cx));
        match end {
            IdleEvent::Closed => self.note(RawEvent::Other(Event::ServerEnd)),
            IdleEvent::Failed(kind) => self.failed(&kind.into()),
            _ => {}
        }
        Poll::Ready(end)
    }

    fn info(&self) -> ConnectionInfo {
        self.stream.info()
    }
}

impl Drop for RecordedStream {
    fn drop(&mut self) {
        self.end();
        if self.layer == 0
            && let Some(one) = lock(&self.recorder.capture)
                .connections
                .get_mut(self.connection)
        {
            one.open = false;
        }
    }
}

impl fmt::Debug for RecordedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecordedStream").field(&self.stream).finish()
    }
}

/// Records what is inside the TLS of another connector.
#[derive(Clone, Debug)]
struct RecordingTls {
    connector: Arc<dyn TlsConnector>,
    recorder: Recorder,
}

impl TlsConnector for RecordingTls {
    fn handshake(
        &self,
        stream: BoxStream,
        server_name: &str,
        offer: &[Alpn],
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        let recorder = self.recorder.clone();
        let covered = recorder.cover(&stream);
        if covered.is_none() {
            lock(&recorder.capture).notes.push(format!(
                "a TLS handshake with {server_name} on a connection unknown to the recorder"
            ));
        }
        let handshake = self.connector.handshake(stream, server_name, offer);
        Box::pin(async move {
            let outcome = handshake.await;
            let Some((connection, layer)) = covered else {
                return outcome;
            };
            match outcome {
                Ok(stream) => {
                    let alpn = stream.info().tls.and_then(|tls| tls.alpn);
                    recorder.note(connection, RawEvent::Other(Event::Tls(alpn)));
                    Ok(recorder.stream(stream, connection, layer))
                }
                Err(error) => {
                    let kind = recordable(error.kind());
                    recorder.note(connection, RawEvent::Other(Event::TlsFailed(kind)));
                    Err(error)
                }
            }
        })
    }
}
