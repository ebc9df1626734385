//! `httpcore sse`.

use std::io::{self, Write};

use http::{HeaderMap, Uri};
use httpcore::{
    Error, EventLoop,
    sse::{Event, Events, Limits, SourceEvent, Subscription, UnexpectedResponse},
};

use crate::{
    Exit,
    args::Sse,
    output::{self, say},
    target::Target,
};

pub(crate) fn run(options: &Sse) -> Result<(), Exit> {
    let epoll = EventLoop::new()?;
    let pool = options.reach.pool(&epoll)?;
    let listener = options.reach.listener(&epoll);
    let target = Target::parse(&options.url, "http")?;
    let mut headers = options.reach.headers.clone();
    target.authorize(&mut headers);
    epoll.block_on(async {
        if options.once {
            let request = once(options, target.url, headers, listener)?;
            let response = pool.request(request).await?;
            let mut events = match Events::new(response, Limits::default()) {
                Ok(events) => events,
                Err(not_events) => return Err(refused(not_events, &epoll).await),
            };
            while let Some(event) = events.event().await {
                show(options, &event?).map_err(output::stdout_failed)?;
            }
            return Ok(());
        }
        let mut subscription = Subscription::new(target.url)
            .option(options.reach.timeouts())
            .option(listener);
        for (name, value) in &headers {
            subscription = subscription.header(name, value);
        }
        if let Some(id) = &options.last_event_id {
            subscription = subscription.last_event_id(id);
        }
        let mut source = pool.events(subscription);
        while let Some(step) = source.step().await {
            match step? {
                SourceEvent::Event(event) => {
                    show(options, &event).map_err(output::stdout_failed)?;
                }
                SourceEvent::Waiting {
                    reconnect_delay,
                    error,
                } if error.is_some() || options.reach.verbose => {
                    say!("* again in {reconnect_delay:?}{}", because(error.as_ref()));
                }
                _ => {}
            }
        }
        Ok(())
    })
}

/// The request for one response.
fn once(
    options: &Sse,
    url: Uri,
    headers: HeaderMap,
    listener: httpcore::trace::Trace,
) -> Result<httpcore::Request, Exit> {
    let mut request = httpcore::Request::default();
    *request.uri_mut() = url;
    let fields = request.headers_mut();
    *fields = headers;
    fields.insert(
        "accept",
        http::HeaderValue::from_static("text/event-stream"),
    );
    if let Some(id) = &options.last_event_id {
        let id = http::HeaderValue::from_bytes(id.as_bytes());
        fields.insert("last-event-id", id.map_err(http::Error::from)?);
    }
    request.extensions_mut().insert(options.reach.timeouts());
    request.extensions_mut().insert(listener);
    Ok(request)
}

/// The beginning of what the server says instead goes to stderr.
async fn refused(not_events: UnexpectedResponse, epoll: &EventLoop) -> Exit {
    let said = not_events.to_string();
    output::say_excerpt(not_events.0.into_response().into_body(), epoll).await;
    io::Error::other(said).into()
}

fn because(error: Option<&Error>) -> String {
    error.map_or(String::new(), |error| {
        format!(": {}", crate::sentence(error))
    })
}

fn show(options: &Sse, event: &Event) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if options.include {
        writeln!(out, "event: {}", event.name)?;
        if !event.id.is_empty() {
            writeln!(out, "id: {}", event.id)?;
        }
        for line in event.data.split('\n') {
            writeln!(out, "data: {line}")?;
        }
        writeln!(out)?;
    } else {
        writeln!(out, "{}", event.data)?;
    }
    out.flush()
}
