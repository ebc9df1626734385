//! `httpcore get`.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::Path,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::Method;
use httpcore::{
    Body, ConnectionPool, Epoll, Response, Timeouts, TlsConnector, tls::RustlsConnector,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    Exit,
    args::{Data, Get, Http, Tls},
    resolve::Overridden,
    trace,
};

/// How much of a file is read at once.
const PIECE: usize = 64 * 1024;

pub(crate) fn run(options: &Get) -> Result<(), Exit> {
    let epoll = Epoll::new()?;
    let mut builder = ConnectionPool::builder()
        .timeouts(timeouts(options))
        .http1(options.http != Http::Two)
        .http2(options.http != Http::One);
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
            write_head(&response)?;
        }
        match &options.output {
            None => to_stdout(response).await,
            Some(path) => to_file(response, path).await,
        }
    })
}

/// The connector that was asked for, if it is not the usual one.
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
        eprintln!(
            "httpcore: WARNING: --insecure: the server may be anybody, and whoever is in between \
             can read and change everything"
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

fn request(options: &Get, epoll: &Epoll) -> Result<httpcore::Request, Exit> {
    let body = match &options.data {
        None => Body::empty(),
        Some(Data::Text(text)) => text.clone().into(),
        Some(Data::File(path)) => file_body(path)?,
        Some(Data::Stdin) => reader_body(io::stdin()),
    };
    let method = options.method.clone().unwrap_or(match options.data {
        None => Method::GET,
        Some(_) => Method::POST,
    });
    let mut request = http::Request::new(body);
    *request.uri_mut() = options.url.parse().map_err(|error| {
        Exit::Usage(format!(
            "{:?} is not a URL: {error}",
            without_userinfo(&options.url)
        ))
    })?;
    *request.method_mut() = method;
    *request.headers_mut() = options.headers.clone();
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

/// A URL as it may be repeated in a message.
pub(crate) fn without_userinfo(url: &str) -> &str {
    let authority_end = url.find("://").map_or(0, |at| {
        at + 3
            + url[at + 3..]
                .find(['/', '?', '#'])
                .unwrap_or(url.len() - at - 3)
    });
    match url[..authority_end].rfind('@') {
        Some(at) => &url[at + 1..],
        None => url,
    }
}

fn file_body(path: &Path) -> Result<Body, Exit> {
    let describe = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("{} cannot be read: {error}", path.display()),
        )
    };
    let file = File::open(path).map_err(describe)?;
    let meta = file.metadata().map_err(describe)?;
    // What is written while it is read, as below /proc, calls itself a file, and empty.
    if !meta.is_file() || meta.len() == 0 {
        return Ok(reader_body(file));
    }
    Ok(reader_body(file).with_length(meta.len()))
}

/// A body that reads as it is asked. Reading a file does not wait for long, and there is nothing
/// else for this thread to do.
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
    head.extend_from_slice(format!("{:?} {status}\r\n", response.version()).as_bytes());
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    io::stdout().write_all(&head)
}

async fn to_stdout(response: Response) -> Result<(), Exit> {
    let mut body = response.into_body();
    let mut out = io::stdout().lock();
    while let Some(piece) = body.chunk().await {
        out.write_all(&piece?)?;
        out.flush()?;
    }
    Ok(())
}

async fn to_file(response: Response, path: &Path) -> Result<(), Exit> {
    let mut file = File::create(path).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("{} cannot be written: {error}", path.display()),
        )
    })?;
    let length = http_body_length(&response);
    let progress = progress_bar(length);
    let mut body = response.into_body();
    while let Some(piece) = body.chunk().await {
        let piece = piece.inspect_err(|_| progress.abandon())?;
        file.write_all(&piece)?;
        progress.inc(piece.len() as u64);
    }
    file.flush()?;
    progress.finish();
    Ok(())
}

fn http_body_length(response: &Response) -> Option<u64> {
    match response.body().length() {
        httpcore::BodyLength::Known(length) => Some(length),
        httpcore::BodyLength::Unknown => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        assert_eq!(without_userinfo("http://u:p@h/x y"), "h/x y");
        assert_eq!(without_userinfo("http://h/a@b"), "http://h/a@b");
        assert_eq!(without_userinfo("no url"), "no url");
    }
}
