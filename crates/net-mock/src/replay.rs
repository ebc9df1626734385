//! Serving a recording.

use std::{collections::HashMap, io::ErrorKind, time::Duration};

use bytes::{Bytes, BytesMut};

use crate::{
    expect::{Piece, REDACTED},
    hosts::{DnsEntry, ListenAddr},
    link::Link,
    listen::ServerHandle,
    net::MockNet,
    recording::{BadRecording, Event, Recorded, Recording},
    script::Script,
    tls::TlsServer,
};

/// A recording being served.
#[derive(Clone, Debug)]
pub struct Replay {
    served: Vec<ServerHandle>,
}

impl Replay {
    /// What of the recording has not happened again, in words.
    pub fn remaining(&self) -> Vec<String> {
        self.served
            .iter()
            .flat_map(ServerHandle::remaining)
            .collect()
    }

    /// Checks that everything recorded has happened again.
    ///
    /// # Panics
    ///
    /// If something has not: with how far it got.
    pub fn assert_finished(&self) {
        let remaining = self.remaining();
        assert!(remaining.is_empty(), "{}", remaining.join("\n"));
    }
}

impl MockNet {
    /// Serves a recording made by a [`Recorder`](crate::Recorder): its names and addresses, and
    /// the connections to each address in the order in which they were made. The client must send
    /// what was sent then (anything will do for what was redacted), and hears what was heard then,
    /// with the same pauses after whatever came before.
    ///
    /// A connection on which TLS was recorded expects the handshake of a
    /// [`MockTls`](crate::MockTls).
    ///
    /// # Errors
    ///
    /// [`BadRecording`] when the text is none, or when it cannot be served since header blocks of
    /// HTTP/2 responses were redacted; record with
    /// [`Recorder::without_redaction`](crate::Recorder::without_redaction) then.
    pub fn replay(&self, recording: &str) -> Result<Replay, BadRecording> {
        let recording = Recording::parse(recording)?;
        for (name, answer) in recording.names {
            self.name(
                &name,
                match answer {
                    Ok(addresses) => DnsEntry::addresses(addresses.iter().map(ToString::to_string)),
                    Err(kind) => DnsEntry::fails(kind),
                },
            );
        }
        let mut order = Vec::new();
        let mut scripts: HashMap<ListenAddr, (Vec<Script>, Vec<Link>)> = HashMap::new();
        for one in &recording.connections {
            if !scripts.contains_key(&one.place) {
                order.push(one.place.clone());
            }
            let (scripts, links) = scripts.entry(one.place.clone()).or_default();
            let link = link(one);
            if link.connects() {
                scripts.push(script(one)?);
            }
            links.push(link);
        }
        let mut served = Vec::new();
        for place in order {
            let (scripts, links) = scripts.remove(&place).unwrap_or_default();
            let label = match &place {
                ListenAddr::Tcp(address) => format!("recorded {address}"),
                ListenAddr::Unix(path) => format!("recorded {}", path.display()),
            };
            let one = self.serve_any(place, label, scripts, false);
            one.links(links);
            served.push(one);
        }
        Ok(Replay { served })
    }
}

/// How connecting went, and how long it took.
fn link(one: &Recorded) -> Link {
    let (took, link) = match one.events.first() {
        Some((took, Event::Failed(kind))) => (
            *took,
            match kind {
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Link::unreachable(),
                ErrorKind::TimedOut => Link::blackhole(),
                _ => Link::refused(),
            },
        ),
        Some((took, Event::Open)) => (*took, Link::new()),
        // The attempt was given up.
        _ => (Duration::ZERO, Link::blackhole()),
    };
    link.connecting_after(took)
}

fn script(one: &Recorded) -> Result<Script, BadRecording> {
    let mut script = Script::new();
    let mut expected: Vec<Piece> = Vec::new();
    let mut last = Duration::ZERO;
    // The end is expected after the last step anyway.
    let events = match one.events.split_last() {
        Some(((_, Event::ClientEnd), before)) => before,
        _ => &one.events[..],
    };
    for (at, event) in events {
        let pause = at.saturating_sub(last);
        last = *at;
        if let Event::Client(pieces) = event {
            expected.extend(pieces.iter().cloned());
            continue;
        }
        if !expected.is_empty() {
            script = script.expect_pieces(std::mem::take(&mut expected));
        }
        script = match event {
            Event::Server(pieces) => script.wait(pause).send(bytes(pieces)?),
            Event::ServerEnd => script.wait(pause).half_close(),
            Event::ServerFailed(ErrorKind::UnexpectedEof) => return Ok(script.wait(pause).close()),
            Event::ServerFailed(_) => return Ok(script.wait(pause).reset()),
            Event::ClientEnd => script.expect_end(),
            Event::Tls(alpn) => script.start_tls(match alpn {
                Some(alpn) => TlsServer::new().alpn(&[*alpn]),
                None => TlsServer::new(),
            }),
            Event::TlsFailed(_) => {
                return Ok(script.start_tls(TlsServer::new().alert("handshake_failure")));
            }
            Event::Open | Event::Failed(_) | Event::Client(_) => script,
        };
    }
    if !expected.is_empty() {
        script = script.expect_pieces(expected);
    }
    Ok(script)
}

/// What the server says; a line that was redacted says so.
fn bytes(pieces: &[Piece]) -> Result<Bytes, BadRecording> {
    let mut bytes = BytesMut::new();
    for piece in pieces {
        match piece {
            Piece::Exactly(exactly) => bytes.extend_from_slice(exactly),
            Piece::RestOfLine => bytes.extend_from_slice(REDACTED),
            Piece::Any(_) => {
                return Err(BadRecording::new(
                    0,
                    "header blocks of a server were redacted, and cannot be replayed",
                ));
            }
        }
    }
    Ok(bytes.freeze())
}
