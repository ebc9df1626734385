//! An attacker on the path who changes bytes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod zoo;

use std::{
    io::{self, IoSlice},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use httpcore_core_primitives::{
    BoxStream, ConnectionInfo, IdleEvent, NetworkStream, Runtime, TlsFailure, with_deadline,
};
use httpcore_net_mock::{LiveCounts, MockNet, ServerStream};
use httpcore_net_tls::{
    RustlsConnector, TlsError, TlsVersion,
    rustls::{
        ServerConfig,
        version::{TLS12, TLS13},
    },
};
use zoo::{Authority, ServerTls, connect, read, write_all};

/// Changes one byte of what is written.
#[derive(Debug)]
struct Tampering {
    below: ServerStream,
    written: usize,
    victim: usize,
}

impl NetworkStream for Tampering {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.below.poll_read(cx, buf)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        if let Some(at) = self.victim.checked_sub(self.written)
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte ^= 0x55;
        }
        let written = std::task::ready!(self.below.poll_write(cx, &[IoSlice::new(&bytes)]))?;
        self.written += written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.below.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.below.poll_shutdown(cx)
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEvent> {
        self.below.poll_idle(cx)
    }

    fn info(&self) -> ConnectionInfo {
        self.below.info()
    }
}

/// What a client makes of a server whose byte `victim` was changed on its way: it shakes hands,
/// asks, and reads the answer.
fn tampered(
    connector: &RustlsConnector,
    config: &Arc<ServerConfig>,
    victim: usize,
) -> io::Result<Vec<u8>> {
    let net = MockNet::new();
    let config = config.clone();
    net.serve("tls.test", 443, move |below: ServerStream| {
        let config = config.clone();
        async move {
            let stream = Tampering {
                below,
                written: 0,
                victim,
            };
            let Ok(mut stream) = ServerTls::accept(Box::new(stream), config).await else {
                return;
            };
            if stream.read_until("?").await.is_ok() {
                let _ = stream.write_all("42").await;
                let _ = stream.close().await;
            }
        }
    });
    let runtime: Arc<dyn Runtime> = Arc::new(net.clone());
    let due = net.now() + Duration::from_secs(60);
    let outcome = net.run(async {
        let asking = async {
            let stream = connect(&net).await?;
            let mut stream: BoxStream = Box::new(connector.connect(stream, "tls.test", &[]).await?);
            write_all(&mut *stream, b"the answer?").await?;
            let mut heard = Vec::new();
            loop {
                let part = read(&mut *stream).await?;
                if part.is_empty() {
                    return Ok(heard);
                }
                heard.extend_from_slice(&part);
            }
        };
        // A length that was made larger has both sides wait for the other.
        let waited = with_deadline(&runtime, "the answer", Some(due), asking).await;
        waited.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    });
    net.run_until_idle();
    assert_eq!(net.live_counts(), LiveCounts::default(), "byte {victim}");
    outcome
}

#[test]
fn no_changed_byte_is_accepted() {
    let root = Authority::new("root");
    let identity = root.issue(&["tls.test"]);
    for (version, protocol) in [(TlsVersion::Tls12, &TLS12), (TlsVersion::Tls13, &TLS13)] {
        let config = ServerConfig::builder_with_provider(httpcore_net_tls::ring())
            .with_protocol_versions(&[protocol])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain.clone(), identity.key_der())
            .unwrap();
        let config = Arc::new(config);
        // Every handshake a full one: so all of them are of one length.
        let builder = root.builder().session_cache_size(0);
        let connector = builder
            .min_version(version)
            .max_version(version)
            .build()
            .unwrap();
        let (mut unharmed, mut victim) = (Vec::new(), 0);
        // All of what a server says is some 1,500 bytes; past it, nothing is changed any more.
        let mut whole = 0;
        while whole < 40 {
            match tampered(&connector, &config, victim) {
                Ok(heard) => {
                    assert_eq!(heard, b"42", "{version:?}, byte {victim}");
                    unharmed.push(victim);
                    whole += 1;
                }
                Err(error) => {
                    whole = 0;
                    let is_tls = TlsFailure::is_source_of(&error);
                    assert!(
                        is_tls || error.kind() == io::ErrorKind::TimedOut,
                        "{version:?}, byte {victim}: {error:?}"
                    );
                    assert_eq!(is_tls, TlsError::find_in(&error).is_some());
                }
            }
            victim += 1;
        }
        assert!(victim > 500, "{version:?}: {victim} bytes");
        unharmed.truncate(unharmed.len() - 40);
        // RFC 8446 §5.1: half of the version in a record's header says nothing. There are six
        // records at most.
        assert!(
            unharmed.len() <= 6 && unharmed.contains(&2),
            "{version:?}: {unharmed:?}"
        );
    }
}
