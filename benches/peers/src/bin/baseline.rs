//! The baseline client: mio and httparse, prepared requests, no futures.

#![forbid(unsafe_code)]

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
};

use httpcore_benches::{Failure, Latencies, Meter, Outcome, Task, Workload, cannot, run};
use httpcore_peers::{ZEROS, tls};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

fn main() {
    run(|task| {
        if task.http2 {
            cannot("HTTP/2");
        }
        if matches!(
            task.workload,
            Workload::ConcurrentDownload | Workload::HappyEyeballs
        ) {
            cannot("workloads other than requests on connections");
        }
        if task.workload == Workload::Upload && task.is_https() {
            cannot("uploads over TLS");
        }
        let mut client = Baseline::new(task)?;
        if task.workload == Workload::Connect {
            if task.resume {
                client.run(1)?;
            }
            return client.run(task.requests);
        }
        if task.workload == Workload::Idle {
            let outcome = client.hold();
            // Not dropped: what it holds is counted when the process ends.
            std::mem::forget(client);
            return outcome;
        }
        client.run(task.in_flight)?;
        client.run(task.requests)
    })
}

struct Baseline<'a> {
    task: &'a Task,
    addr: SocketAddr,
    request: Vec<u8>,
    tls: Option<Arc<ClientConfig>>,
    poll: Poll,
    connections: HashMap<Token, Connection>,
    next: usize,
    buffer: Vec<u8>,
    /// Buffer of plaintext. Allocated once: clearing it each time would be most of the cost.
    plain: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Bytes still to be sent: of the head, and of the body.
    unsent: usize,
    upload: u64,
    /// Bytes of a body still to be read, and its length; `None` before the head.
    body: Option<(u64, u64)>,
    begun: Option<std::time::Instant>,
}

impl<'a> Baseline<'a> {
    fn new(task: &'a Task) -> Result<Self, Failure> {
        let (host, path) = task.host_and_path();
        let request = if task.workload == Workload::Upload {
            let size = task.size;
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n")
        } else {
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
        };
        Ok(Baseline {
            task,
            addr: host.parse()?,
            request: request.into(),
            tls: task
                .is_https()
                .then(|| tls(task).map(Arc::new))
                .transpose()?,
            poll: Poll::new()?,
            connections: HashMap::new(),
            next: 0,
            buffer: vec![0; 64 << 10],
            plain: vec![0; 16 << 10],
        })
    }

    fn connect(&mut self) -> Result<Token, Failure> {
        let mut socket = TcpStream::connect(self.addr)?;
        socket.set_nodelay(true)?;
        let token = Token(self.next);
        self.next += 1;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, token, both)?;
        let tls = match &self.tls {
            None => None,
            Some(config) => {
                let name = ServerName::from(self.addr.ip());
                Some(Box::new(ClientConnection::new(config.clone(), name)?))
            }
        };
        let connection = Connection {
            socket,
            tls,
            unsent: 0,
            upload: 0,
            body: None,
            begun: None,
        };
        self.connections.insert(token, connection);
        Ok(token)
    }

    /// Opens connections one by one, with one request on each.
    fn hold(&mut self) -> Result<Outcome, Failure> {
        let (host, _) = self.task.host_and_path();
        self.request = format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n").into();
        let meter = Meter::start();
        let mut latencies = Latencies::default();
        let mut events = Events::with_capacity(1024);
        for _ in 0..self.task.in_flight {
            let token = self.connect()?;
            let connection = self.connections.get_mut(&token).ok_or("no connection")?;
            connection.begin(&self.request, 0, &latencies)?;
            while connection
                .turn(&self.request, &mut self.buffer, &mut self.plain)?
                .is_none()
            {
                self.poll.poll(&mut events, None)?;
            }
        }
        Ok(meter.stop(self.task.in_flight, 0, &mut latencies))
    }

    /// Makes `requests` requests, with the maximum number in flight.
    fn run(&mut self, requests: u64) -> Result<Outcome, Failure> {
        let meter = Meter::start();
        let mut latencies = Latencies::of(self.task);
        let (mut left, mut done, mut bytes) = (requests, 0, 0);
        let first = self.task.in_flight.min(left);
        while (self.connections.len() as u64) < first {
            self.connect()?;
        }
        left -= first;
        let mut tokens: Vec<Token> = self.connections.keys().copied().collect();
        tokens.truncate(usize::try_from(first)?);
        for token in tokens {
            if let Some(connection) = self.connections.get_mut(&token) {
                connection.begin(&self.request, self.task.size, &latencies)?;
            }
        }
        let mut events = Events::with_capacity(1024);
        while done < requests {
            if let Err(error) = self.poll.poll(&mut events, None) {
                if error.kind() == ErrorKind::Interrupted {
                    continue;
                }
                return Err(error.into());
            }
            for event in &events {
                let token = event.token();
                let Some(connection) = self.connections.get_mut(&token) else {
                    continue;
                };
                let length = connection.turn(&self.request, &mut self.buffer, &mut self.plain)?;
                let Some(length) = length else {
                    continue;
                };
                latencies.end(connection.begun);
                done += 1;
                bytes += length;
                let again = left > 0;
                left -= u64::from(again);
                if self.task.workload == Workload::Connect {
                    self.connections.remove(&token);
                    if again {
                        let token = self.connect()?;
                        if let Some(connection) = self.connections.get_mut(&token) {
                            connection.begin(&self.request, 0, &latencies)?;
                        }
                    }
                } else if again {
                    connection.begin(&self.request, self.task.size, &latencies)?;
                }
            }
        }
        Ok(meter.stop(requests, bytes, &mut latencies))
    }
}

impl Connection {
    fn begin(&mut self, request: &[u8], size: u64, latencies: &Latencies) -> io::Result<()> {
        self.begun = latencies.begin();
        self.unsent = request.len();
        self.upload = size;
        self.send(request)
    }

    /// Sends and receives as much as possible. Returns as [`receive`](Self::receive) does.
    fn turn(
        &mut self,
        request: &[u8],
        buffer: &mut [u8],
        plain: &mut [u8],
    ) -> Result<Option<u64>, Failure> {
        self.send(request)?;
        let done = self.receive(buffer, plain)?;
        if done.is_none() && self.tls.is_some() {
            self.send(request)?; // handshake records
        }
        Ok(done)
    }

    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match self.try_send(request) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            // Not connected yet: an event follows.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    fn try_send(&mut self, request: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            if self.unsent > 0 && !tls.is_handshaking() {
                tls.writer().write_all(request)?;
                self.unsent = 0;
            }
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
            return Ok(());
        }
        while self.unsent > 0 {
            let from = request.len() - self.unsent;
            self.unsent -= self.socket.write(&request[from..])?;
        }
        while self.upload > 0 {
            let size = self.upload.min(ZEROS.len() as u64) as usize;
            self.upload -= self.socket.write(&ZEROS[..size])? as u64;
        }
        Ok(())
    }

    /// Returns the length of the response's body once it has been read.
    fn receive(&mut self, buffer: &mut [u8], plain: &mut [u8]) -> Result<Option<u64>, Failure> {
        loop {
            let size = match self.socket.read(buffer) {
                Ok(0) => return Err("connection closed early".into()),
                Ok(size) => size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let is_short = size < buffer.len();
            let done = if self.tls.is_some() {
                self.decrypt(&buffer[..size], plain)?
            } else {
                self.hear(&buffer[..size])?
            };
            if done.is_some() || is_short {
                return Ok(done);
            }
        }
    }

    fn decrypt(&mut self, mut cipher: &[u8], plain: &mut [u8]) -> Result<Option<u64>, Failure> {
        let mut done = None;
        while !cipher.is_empty() {
            let tls = self.tls.as_mut().ok_or("no TLS")?;
            tls.read_tls(&mut cipher)?;
            tls.process_new_packets()?;
            loop {
                let tls = self.tls.as_mut().ok_or("no TLS")?;
                match tls.reader().read(plain) {
                    Ok(0) => return Err("connection closed early".into()),
                    Ok(size) => done = self.hear(&plain[..size])?.or(done),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(done)
    }

    /// The responder sends heads in one piece.
    fn hear(&mut self, mut bytes: &[u8]) -> Result<Option<u64>, Failure> {
        let (mut left, length) = match self.body {
            Some(body) => body,
            None => {
                let mut fields = [httparse::EMPTY_HEADER; 32];
                let mut response = httparse::Response::new(&mut fields);
                let httparse::Status::Complete(head) = response.parse(bytes)? else {
                    return Err("incomplete head".into());
                };
                if response.code != Some(200) {
                    return Err(format!("answered with {:?}", response.code).into());
                }
                let mut fields = response.headers.iter();
                let length = fields
                    .find(|field| field.name.eq_ignore_ascii_case("content-length"))
                    .ok_or("no length")?;
                bytes = &bytes[head..];
                let length = std::str::from_utf8(length.value)?.parse()?;
                (length, length)
            }
        };
        left -= bytes.len() as u64;
        if left > 0 {
            self.body = Some((left, length));
            return Ok(None);
        }
        self.body = None;
        Ok(Some(length))
    }
}
