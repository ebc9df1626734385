//! What happens to a request, a line each.

use std::time::Instant;

use httpcore::{Event, TlsInfo, Trace};

use crate::output::say;

/// A trace which writes lines to stderr, with the time since `start`.
pub(crate) fn to_stderr(start: Instant) -> Trace {
    Trace::to(move |at: Instant, event: &Event<'_>| {
        let since = at.saturating_duration_since(start);
        say!(
            "{:>12.6} {:<28}{}",
            since.as_secs_f64(),
            event.name(),
            details(event)
        );
    })
}

/// A trace which writes to stderr what the connection is.
pub(crate) fn connection_to_stderr() -> Trace {
    Trace::to(|_: Instant, event: &Event<'_>| match event {
        Event::Connected { .. } => say!("* connected to {}", details(event)),
        Event::TlsEstablished { info } => say!("* {}", handshake(info)),
        _ => {}
    })
}

fn handshake(info: &TlsInfo) -> String {
    let alpn = info
        .alpn
        .map(|alpn| String::from_utf8_lossy(alpn.wire_name()).into_owned());
    let facts = [
        info.version.map(str::to_owned),
        info.cipher_suite.map(str::to_owned),
        info.key_exchange.map(str::to_owned),
        alpn,
    ];
    let mut text: Vec<String> = facts.into_iter().flatten().collect();
    text.push(
        if info.resumed {
            "resumed"
        } else {
            "new session"
        }
        .to_owned(),
    );
    let lengths: Vec<_> = info
        .peer_chain
        .iter()
        .map(|der| der.len().to_string())
        .collect();
    text.push(format!("certificates of {} bytes", lengths.join(", ")));
    text.join(", ")
}

fn details(event: &Event<'_>) -> String {
    match event {
        Event::ResolveStarted { host } => (*host).to_owned(),
        Event::Resolved { addresses } => {
            let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            list.join(" ")
        }
        Event::ConnectStarted { peer } => peer.to_string(),
        Event::Connected { peer, local } => match (peer, local) {
            (Some(peer), Some(local)) => format!("{peer} from {local}"),
            _ => String::new(),
        },
        Event::ConnectFailed { peer, error } => format!("{peer}: {error}"),
        Event::TlsStarted { server_name } => (*server_name).to_owned(),
        Event::TlsEstablished { info } => handshake(info),
        Event::DialFailed { error } | Event::Retried { error } | Event::Failed { error } => {
            crate::sentence(error)
        }
        Event::Granted { reused } => if *reused { "reused" } else { "new" }.to_owned(),
        Event::RequestHeadSent { bytes }
        | Event::RequestBodySent { bytes }
        | Event::ResponseEnded { bytes } => format!("{bytes} bytes"),
        Event::Informational { status } => status.to_string(),
        Event::ResponseHead { status, bytes } => format!("{status}, {bytes} bytes"),
        Event::ConnectionClosed { reason, detail } => match *detail {
            "" => reason.label().to_owned(),
            detail => format!("{}: {detail}", reason.label()),
        },
        _ => String::new(),
    }
}
