//! What a recorder has heard, and what of it may be written down.

use std::{
    io,
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    expect::Piece,
    hosts::ListenAddr,
    recording::{Event, Recorded, Recording},
    redact::{Secret, secrets},
};

#[derive(Default)]
pub(crate) struct Capture {
    pub(crate) names: Vec<(String, Result<Vec<std::net::IpAddr>, io::ErrorKind>)>,
    pub(crate) connections: Vec<CapturedConnection>,
    pub(crate) notes: Vec<String>,
    pub(crate) redacted: Vec<String>,
    pub(crate) keeps_secrets: bool,
}

pub(crate) struct CapturedConnection {
    pub(crate) place: ListenAddr,
    pub(crate) began: Instant,
    pub(crate) ends: (Option<SocketAddr>, Option<SocketAddr>),
    /// How many layers of TLS there are; only what passes through the uppermost is recorded.
    pub(crate) layers: usize,
    pub(crate) open: bool,
    pub(crate) events: Vec<(Duration, RawEvent)>,
}

/// An event as it happened, secrets included. They do not leave memory.
pub(crate) enum RawEvent {
    Client(Bytes),
    Server(Bytes),
    Other(Event),
}

impl Capture {
    pub(crate) fn recording(&self) -> Recording {
        let names: &[String] = if self.keeps_secrets {
            &[]
        } else {
            &self.redacted
        };
        let recorded = |one: &CapturedConnection| Recorded {
            place: one.place.clone(),
            events: one.redacted(names, self.keeps_secrets),
        };
        Recording {
            names: self.names.clone(),
            connections: self.connections.iter().map(recorded).collect(),
            notes: self.notes.clone(),
        }
    }
}

impl CapturedConnection {
    /// The events, with secrets left out. A layer of TLS begins the conversation anew.
    fn redacted(&self, names: &[String], keeps_secrets: bool) -> Vec<(Duration, Event)> {
        let is_tls =
            |(_, raw): &(Duration, RawEvent)| matches!(raw, RawEvent::Other(Event::Tls(_)));
        let mut events = Vec::new();
        let mut rest = &self.events[..];
        while !rest.is_empty() {
            let end = rest[1..]
                .iter()
                .position(is_tls)
                .map_or(rest.len(), |at| at + 1);
            let (layer, after) = rest.split_at(end);
            events.extend(redact_layer(layer, names, keeps_secrets));
            rest = after;
        }
        events
    }
}

fn redact_layer(
    layer: &[(Duration, RawEvent)],
    names: &[String],
    keeps_secrets: bool,
) -> Vec<(Duration, Event)> {
    let said = |client: bool| -> Vec<u8> {
        let mut all = Vec::new();
        for (_, raw) in layer {
            match raw {
                RawEvent::Client(bytes) if client => all.extend_from_slice(bytes),
                RawEvent::Server(bytes) if !client => all.extend_from_slice(bytes),
                _ => {}
            }
        }
        all
    };
    let (client, server) = (said(true), said(false));
    let hide = |bytes: &[u8]| match keeps_secrets {
        true => Vec::new(),
        false => secrets(bytes, &client, names),
    };
    let (client_secrets, server_secrets) = (hide(&client), hide(&server));
    let (mut client_at, mut server_at) = (0, 0);
    let mut events = Vec::new();
    for (at, raw) in layer {
        let event = match raw {
            RawEvent::Client(bytes) => {
                let range = client_at..client_at + bytes.len();
                client_at = range.end;
                Event::Client(pieces(bytes, range, &client_secrets))
            }
            RawEvent::Server(bytes) => {
                let range = server_at..server_at + bytes.len();
                server_at = range.end;
                Event::Server(pieces(bytes, range, &server_secrets))
            }
            RawEvent::Other(event) => event.clone(),
        };
        events.push((*at, event));
    }
    events
}

/// `bytes`, which stand at `range` of what one side said, without secrets. What stands for a line
/// is in the event in which the line's secret begins.
fn pieces(bytes: &Bytes, range: Range<usize>, secrets: &[Secret]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = range.start;
    let plain = |pieces: &mut Vec<Piece>, from: usize, to: usize| {
        if from < to {
            pieces.push(Piece::Exactly(
                bytes.slice(from - range.start..to - range.start),
            ));
        }
    };
    for secret in secrets {
        let hidden = secret.range();
        if hidden.end < range.start || hidden.start >= range.end {
            continue;
        }
        let (from, to) = (hidden.start.max(range.start), hidden.end.min(range.end));
        plain(&mut pieces, at, from);
        match secret {
            Secret::Line(_) if hidden.start >= range.start => pieces.push(Piece::RestOfLine),
            Secret::Line(_) => {}
            Secret::Block(_) if from < to => pieces.push(Piece::Any(to - from)),
            Secret::Block(_) => {}
        }
        at = at.max(to);
    }
    plain(&mut pieces, at, range.end);
    pieces
}
