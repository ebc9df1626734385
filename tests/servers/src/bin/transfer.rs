//! One large transfer in a process of its own, so that its memory can be told from the test's.
//!
//! `transfer METHOD URL SIZE length|chunked [--root PEM] [--http2] [--proxy URL [--proxy-root PEM] [--tunnel]]` sends SIZE bytes and takes whatever comes
//! back, then prints the status, how many bytes came, and the most memory this process ever had, in
//! KiB; then, if they were few, the bytes. With `--root`, servers are vouched for by the authority in that file.
//! HTTP/1.1 is spoken, or with `--http2` nothing but HTTP/2. With `--proxy` it goes through that proxy, to an
//! `http` URL too through a tunnel with `--tunnel`; an `https` proxy, for which an authority vouches, may choose
//! HTTP/2.

#![forbid(unsafe_code)]

use std::{convert::Infallible, env, error::Error, fs, sync::Arc, task::Poll};

use httpcore::{
    Body, Bytes, ConnectionPool, EventLoop, extensions::TlsOverride, proxy::Proxy,
    tls::RustlsConnector,
};

const PIECE: &[u8] = &[b'a'; 64 << 10];
/// Maximum number of bytes of a body that are shown.
const FEW: u64 = 1 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [method, url, size, framing, options @ ..] = arguments.as_slice() else {
        return Err("usage: transfer METHOD URL SIZE length|chunked [--root PEM] [--http2] [--proxy URL [--proxy-root PEM] \
                    [--tunnel]]"
            .into());
    };
    let mut builder = ConnectionPool::builder().http2(false);
    let mut options = options.iter();
    let mut proxy: Option<Proxy> = None;
    while let Some(option) = options.next() {
        builder = match option.as_str() {
            "--root" => {
                let path = options.next().ok_or("--root needs a file")?;
                let connector = RustlsConnector::builder().root_pem_file(path)?.build()?;
                builder.tls(Arc::new(connector))
            }
            "--proxy" => {
                proxy = Some(options.next().ok_or("--proxy needs a URL")?.parse()?);
                builder
            }
            "--proxy-root" => {
                let path = options.next().ok_or("--proxy-root needs a file")?;
                let connector = RustlsConnector::builder().root_pem_file(path)?.build()?;
                let tls = TlsOverride::new(Arc::new(connector));
                proxy = proxy.map(|proxy| proxy.with_tls(tls));
                builder.http2(true)
            }
            "--tunnel" => {
                proxy = proxy.map(|proxy| proxy.with_tunnel_for_http(true));
                builder
            }
            "--http2" => builder.http1(false).http2(true),
            other => return Err(format!("unknown option: {other}").into()),
        };
    }
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy);
    }
    let size: u64 = size.parse()?;
    let body = match framing.as_str() {
        _ if size == 0 => Body::empty(),
        "length" => stream(size).with_length(size),
        "chunked" => stream(size),
        other => return Err(format!("unknown framing: {other}").into()),
    };
    let request = http::Request::builder()
        .method(method.as_str())
        .uri(url)
        .header("content-type", "text/plain")
        .body(body)?;
    let epoll = EventLoop::new()?;
    let pool = builder.build(epoll.backend());
    let (status, received, said) = epoll.block_on(async {
        let mut response = pool.request(request).await?;
        let (mut received, mut said) = (0, Vec::new());
        while let Some(piece) = response.body_mut().chunk().await {
            let piece = piece?;
            received += piece.len() as u64;
            if received <= FEW {
                said.extend_from_slice(&piece);
            }
        }
        Ok::<_, httpcore::Error>((response.status().as_u16(), received, said))
    })?;
    println!("{status} {received} {}", peak()?);
    if received <= FEW {
        print!("{}", String::from_utf8_lossy(&said));
    }
    Ok(())
}

/// `size` times the letter a.
fn stream(size: u64) -> Body {
    let mut left = size;
    Body::poll_fn(move |_| {
        let length = left.min(PIECE.len() as u64);
        left -= length;
        let piece = Bytes::from_static(PIECE).split_to(length as usize);
        Poll::Ready((length > 0).then_some(Ok::<_, Infallible>(piece)))
    })
}

/// The most memory this process ever had at once, in KiB.
fn peak() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let words = line.ok_or("no VmHWM here")?;
    Ok(words.trim().trim_end_matches(" kB").parse()?)
}
