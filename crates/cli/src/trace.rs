//! What happens to a request, a line each.

use std::{
    io::{self, Write},
    time::Instant,
};

use httpcore::{Event, Trace};

/// A trace which writes lines to stderr, with the time since `start`.
pub(crate) fn to_stderr(start: Instant) -> Trace {
    Trace::to(move |at: Instant, event: &Event<'_>| {
        let since = at.saturating_duration_since(start);
        // Whoever has stopped reading the trace has not stopped the request, and `eprintln!` would.
        let _ = writeln!(
            io::stderr(),
            "{:>12.6} {:<28}{}",
            since.as_secs_f64(),
            event.name(),
            details(event)
        );
    })
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
