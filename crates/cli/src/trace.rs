//! Trace output: one line for each event.

use std::time::Instant;

use httpcore::{
    net::TlsInfo,
    trace::{Trace, TraceEvent},
};

use crate::output::say;

/// Returns a trace listener that writes lines to stderr, with the time since `start`.
pub(crate) fn to_stderr(start: Instant) -> Trace {
    Trace::to(move |at: Instant, event: &TraceEvent<'_>| {
        let since = at.saturating_duration_since(start);
        say!(
            "{:>12.6} {:<28}{}",
            since.as_secs_f64(),
            event.name(),
            details(event)
        );
    })
}

/// Returns a trace listener that writes connection details to stderr.
pub(crate) fn connection_to_stderr() -> Trace {
    Trace::to(|_: Instant, event: &TraceEvent<'_>| match event {
        TraceEvent::TcpConnected { .. } => say!("* connected to {}", details(event)),
        TraceEvent::ProxyEstablished { proxy, target } => match target {
            Some(target) => say!("* proxy {proxy} connected to {target}"),
            None => say!("* proxy {proxy} forwards requests"),
        },
        TraceEvent::TlsEstablished { info } => say!("* {}", handshake(info)),
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

fn details(event: &TraceEvent<'_>) -> String {
    match event {
        TraceEvent::ResolveStarted { host } => (*host).to_owned(),
        TraceEvent::Resolved { addresses } => {
            let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            list.join(" ")
        }
        TraceEvent::TcpConnectStarted { peer } => peer.to_string(),
        TraceEvent::TcpConnected { peer, local } => match (peer, local) {
            (Some(peer), Some(local)) => format!("{peer} from {local}"),
            _ => String::new(),
        },
        TraceEvent::TcpConnectFailed { peer, error } => format!("{peer}: {error}"),
        TraceEvent::AddressRefused { refused } => refused.to_string(),
        TraceEvent::ProxyStarted { proxy, target }
        | TraceEvent::ProxyEstablished { proxy, target } => match target {
            Some(target) => format!("{proxy} to {target}"),
            None => (*proxy).to_owned(),
        },
        TraceEvent::TlsStarted { server_name } => (*server_name).to_owned(),
        TraceEvent::TlsEstablished { info } => handshake(info),
        TraceEvent::ConnectFailed { error }
        | TraceEvent::Retried { error }
        | TraceEvent::Failed { error } => crate::sentence(error),
        TraceEvent::ConnectionAcquired { reused } => {
            if *reused { "reused" } else { "new" }.to_owned()
        }
        TraceEvent::RequestHeadSent { bytes }
        | TraceEvent::RequestBodySent { bytes }
        | TraceEvent::ResponseEnded { bytes } => format!("{bytes} bytes"),
        TraceEvent::Informational { status } => status.to_string(),
        TraceEvent::ResponseHead { status, bytes } => format!("{status}, {bytes} bytes"),
        TraceEvent::ConnectionClosed { reason } => {
            format!("{}: {}", reason.label(), reason.detail())
        }
        _ => String::new(),
    }
}
