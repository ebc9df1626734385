//! One large transfer in a process of its own, so that its memory can be told from the test's.
//!
//! `transfer METHOD URL SIZE length|chunked` sends SIZE bytes and takes whatever comes back, then
//! prints the status, how many bytes came, and the most memory this process ever had, in KiB.

#![forbid(unsafe_code)]

use std::{convert::Infallible, env, error::Error, fs, task::Poll};

use httpcore::{Body, Bytes, ConnectionPool, Epoll};

const PIECE: &[u8] = &[b'a'; 64 << 10];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [method, url, size, framing] = arguments.as_slice() else {
        return Err("usage: transfer METHOD URL SIZE length|chunked".into());
    };
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
    let epoll = Epoll::new()?;
    let pool = ConnectionPool::new(epoll.backend());
    let (status, received) = epoll.block_on(async {
        let mut response = pool.request(request).await?;
        let mut received = 0;
        while let Some(piece) = response.body_mut().chunk().await {
            received += piece?.len() as u64;
        }
        Ok::<_, httpcore::Error>((response.status().as_u16(), received))
    })?;
    println!("{status} {received} {}", peak()?);
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
