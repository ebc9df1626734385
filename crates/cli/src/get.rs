//! `httpcore get`.

use std::{
    fs::File,
    future::poll_fn,
    io::{self, Cursor, IsTerminal, Read, Write},
    path::Path,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use httpcore::{
    Body, ConnectionPool, Error, EventLoop, Response, Timeouts, backend::TlsConnector,
    tls::RustlsConnector,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    Exit,
    args::{Data, Get, Http, Tls},
    output::{self, say},
    resolve::Overridden,
    target::Target,
    trace,
};

/// Maximum number of bytes of one read from a file.
const PIECE: usize = 64 * 1024;

pub(crate) fn run(options: &Get) -> Result<(), Exit> {
    let epoll = EventLoop::new()?;
    let mut builder = ConnectionPool::builder()
        .timeouts(timeouts(options))
        .http1(options.http != Http::Two)
        .http2(options.http != Http::One)
        .proxy_rules(options.proxy.rules(options.unix_socket.is_some())?);
    if let Some(path) = &options.unix_socket {
        builder = builder.unix_socket(path);
    }
    if let Some(connector) = tls(&options.tls)? {
        builder = builder.tls(connector);
    }
    let mut backend = epoll.backend();
    if !options.resolve.is_empty() {
        backend = Arc::new(Overridden::new(backend, options.resolve.clone()));
    }
    let pool = builder.build(backend);
    let request = request(options, &epoll)?;
    epoll.block_on(async {
        let response = pool.request(request).await?;
        if options.include_head {
            write_head(&response).map_err(output::stdout_failed)?;
        }
        let trailers = match &options.output {
            None => to_stdout(response, io::stdout().is_terminal()).await?,
            Some(path) if path.as_os_str() == "-" => to_stdout(response, false).await?,
            Some(path) => to_file(response, path).await?,
        };
        if let Some(trailers) = trailers.filter(|_| options.include_head) {
            write_fields(&trailers).map_err(output::stdout_failed)?;
        }
        Ok(())
    })
}

/// Returns whether anything goes to stdout.
pub(crate) fn prints(options: &Get) -> bool {
    let to_file = options.output.as_ref();
    options.include_head || to_file.is_none_or(|path| path.as_os_str() == "-")
}

/// Returns a connector for the options, if they differ from the default.
pub(crate) fn tls(options: &Tls) -> Result<Option<Arc<dyn TlsConnector>>, Exit> {
    if options.roots.is_none() && options.certificate.is_none() && !options.insecure {
        return Ok(None);
    }
    let mut builder = RustlsConnector::builder();
    if let Some(roots) = &options.roots {
        builder = builder.root_pem_file(roots)?;
    }
    if let Some(certificate) = &options.certificate {
        let key = options.key.as_ref().unwrap_or(certificate);
        builder = builder.client_certificate_pem_files(certificate, key)?;
    }
    if options.insecure {
        say!(
            "httpcore: WARNING: --insecure: server certificates are not verified: an attacker can read \
             and change everything"
        );
        builder = builder.danger_accept_any_certificate();
    }
    Ok(Some(Arc::new(builder.build()?)))
}

fn timeouts(options: &Get) -> Timeouts {
    let mut timeouts = Timeouts::default();
    if let Some(limit) = options.timeout {
        timeouts = timeouts.with_total(limit);
    }
    if let Some(limit) = options.connect_timeout {
        timeouts = timeouts
            .with_resolve(limit)
            .with_connect(limit)
            .with_tls(limit);
    }
    timeouts
}

fn request(options: &Get, epoll: &EventLoop) -> Result<httpcore::Request, Exit> {
    let method = options.method.clone().unwrap_or(match options.data[..] {
        [] => Method::GET,
        _ => Method::POST,
    });
    let target = Target::parse(&options.url, "http")?;
    let mut request = http::Request::new(body(&options.data)?);
    *request.method_mut() = method;
    *request.headers_mut() = options.headers.clone();
    target.authorize(request.headers_mut());
    *request.uri_mut() = target.url;
    if options.trace {
        let start = epoll.backend().now();
        request.extensions_mut().insert(trace::to_stderr(start));
    } else if options.verbose {
        request
            .extensions_mut()
            .insert(trace::connection_to_stderr());
    }
    Ok(request)
}

/// Returns the request body: all of `data`, joined with `&`.
fn body(data: &[Data]) -> Result<Body, Exit> {
    // A body from the command line can be sent again.
    let texts: Option<Vec<&str>> = data.iter().map(Data::text).collect();
    if let Some(texts) = texts {
        return Ok(match texts[..] {
            [] => Body::empty(),
            _ => texts.join("&").into(),
        });
    }
    let mut all: Box<dyn Read + Send> = Box::new(io::empty());
    let mut length = Some(0_u64);
    for (number, piece) in data.iter().enumerate() {
        if number > 0 {
            all = Box::new(all.chain(&b"&"[..]));
            length = length.and_then(|length| length.checked_add(1));
        }
        let (reader, its_length) = reader(piece)?;
        all = Box::new(all.chain(reader));
        length = length.zip(its_length).and_then(|(a, b)| a.checked_add(b));
    }
    let body = reader_body(all);
    Ok(match length {
        Some(length) => body.with_length(length),
        None => body,
    })
}

/// Returns a reader of `data`, and its length if known.
fn reader(data: &Data) -> Result<(Box<dyn Read + Send>, Option<u64>), Exit> {
    Ok(match data {
        Data::Text(text) => {
            let length = text.len() as u64;
            (Box::new(Cursor::new(text.clone())), Some(length))
        }
        Data::File(path) => {
            let describe = |error: io::Error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot read {}: {error}", path.display()),
                )
            };
            let file = File::open(path).map_err(describe)?;
            let meta = file.metadata().map_err(describe)?;
            // Files below /proc have length 0, and are written while they are read.
            let is_known = meta.is_file() && meta.len() > 0;
            (Box::new(file), is_known.then_some(meta.len()))
        }
        Data::Stdin => (Box::new(io::stdin()), None),
    })
}

/// Returns a body that reads when polled. Reading a file blocks this thread, which has nothing else
/// to do.
fn reader_body(mut reader: impl Read + Send + 'static) -> Body {
    let mut buf = vec![0; PIECE];
    Body::poll_fn(move |_| {
        Poll::Ready(match reader.read(&mut buf) {
            Ok(0) => None,
            Ok(read) => Some(Ok(Bytes::copy_from_slice(&buf[..read]))),
            Err(error) => Some(Err(error)),
        })
    })
}

fn write_head(response: &Response) -> io::Result<()> {
    let mut head = BytesMut::new();
    let status = response.status();
    let version = output::version(response.version());
    head.extend_from_slice(format!("{version} {status}\r\n").as_bytes());
    append_fields(response.headers(), &mut head);
    head.extend_from_slice(b"\r\n");
    io::stdout().write_all(&head)
}

fn write_fields(fields: &HeaderMap) -> io::Result<()> {
    let mut lines = BytesMut::new();
    append_fields(fields, &mut lines);
    let mut out = io::stdout().lock();
    out.write_all(&lines)?;
    out.flush()
}

fn append_fields(fields: &HeaderMap, lines: &mut BytesMut) {
    for (name, value) in fields {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
}

/// Returns the next chunk of `body`; trailers go to `trailers`.
async fn next_piece(
    body: &mut Body,
    trailers: &mut Option<HeaderMap>,
) -> Option<Result<Bytes, Error>> {
    while let Some(frame) = poll_fn(|cx| body.poll_next(cx)).await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => return Some(Ok(data)),
            Ok(Err(other)) => *trailers = other.into_trailers().ok(),
            Err(error) => return Some(Err(error)),
        }
    }
    None
}

async fn to_stdout(response: Response, is_terminal: bool) -> Result<Option<HeaderMap>, Exit> {
    let mut body = response.into_body();
    let mut trailers = None;
    let mut out = io::stdout().lock();
    while let Some(piece) = next_piece(&mut body, &mut trailers).await {
        output::write_piece(&mut out, &piece?, is_terminal)?;
    }
    Ok(trailers)
}

async fn to_file(response: Response, path: &Path) -> Result<Option<HeaderMap>, Exit> {
    let failed = |error: io::Error| output::file_failed(path, &error);
    let mut file = File::create(path).map_err(failed)?;
    let length = http_body_length(&response);
    let progress = progress_bar(length);
    let mut body = response.into_body();
    let mut trailers = None;
    while let Some(piece) = next_piece(&mut body, &mut trailers).await {
        let piece = piece.inspect_err(|_| progress.abandon())?;
        file.write_all(&piece).map_err(failed)?;
        progress.inc(piece.len() as u64);
    }
    file.flush().map_err(failed)?;
    progress.finish();
    Ok(trailers)
}

fn http_body_length(response: &Response) -> Option<u64> {
    match response.body().length() {
        httpcore::net::BodyLength::Known(length) => Some(length),
        httpcore::net::BodyLength::Unknown => None,
    }
}

fn progress_bar(length: Option<u64>) -> ProgressBar {
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(length, target);
    let template = match length {
        Some(_) => "{bar:40} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
        None => "{spinner} {bytes} {binary_bytes_per_sec} {elapsed}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
