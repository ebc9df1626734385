//! The code under test: a client of a few lines, with a timeout and a retry.

use std::{
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use httpcore_core_primitives::{BoxStream, NetworkBackend, Runtime, TcpOptions, with_deadline};

/// Asks for things, one connection each.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) network: Arc<dyn NetworkBackend>,
    /// How long one attempt may take.
    pub(crate) timeout: Duration,
    /// How often a failed attempt is made again.
    pub(crate) retries: usize,
}

impl Client {
    pub(crate) fn new(network: Arc<dyn NetworkBackend>) -> Self {
        Client {
            network,
            timeout: Duration::from_secs(10),
            retries: 0,
        }
    }

    /// What `host` has at `path`.
    pub(crate) async fn get(&self, host: &str, path: &str) -> io::Result<String> {
        let mut retries = self.retries;
        loop {
            let runtime: Arc<dyn Runtime> = self.network.clone();
            let deadline = Some(runtime.now() + self.timeout);
            let attempt = self.attempt(host, path);
            let outcome = with_deadline(&runtime, "whole attempt", deadline, attempt).await;
            match outcome.unwrap_or_else(|| Err(ErrorKind::TimedOut.into())) {
                Err(_) if retries > 0 => retries -= 1,
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self, host: &str, path: &str) -> io::Result<String> {
        let addresses = self.network.resolve(host, 80).await?;
        let address = *addresses.first().ok_or(ErrorKind::NotFound)?;
        let options = TcpOptions::default();
        let mut stream = self.network.connect_tcp(address, &options).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        write_all(&mut stream, request.as_bytes()).await?;
        let (head, mut body) = read_head(&mut stream).await?;
        let length = content_length(&head).ok_or(ErrorKind::InvalidData)?;
        while body.len() < length {
            read_more(&mut stream, &mut body).await?;
        }
        Ok(String::from_utf8_lossy(&body[..length]).into_owned())
    }
}

async fn write_all(stream: &mut BoxStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let bufs = [IoSlice::new(bytes)];
        let written = poll_fn(|cx| stream.poll_write(cx, &bufs)).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

async fn read_more(stream: &mut BoxStream, buf: &mut BytesMut) -> io::Result<()> {
    buf.reserve(4096);
    match poll_fn(|cx| stream.poll_read(cx, buf)).await? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn read_head(stream: &mut BoxStream) -> io::Result<(String, BytesMut)> {
    let mut buf = BytesMut::new();
    loop {
        let end = buf.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = buf.split_to(end + 4);
            return Ok((String::from_utf8_lossy(&head).into_owned(), buf));
        }
        read_more(stream, &mut buf).await?;
    }
}

fn content_length(head: &str) -> Option<usize> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}
