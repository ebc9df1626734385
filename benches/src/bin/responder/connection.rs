//! One connection: bytes in and out, through TLS if the port has it.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use rustls::ServerConnection;

use crate::{http1::Http1, http2::Http2};

/// Maximum number of bytes that are prepared at once.
const AT_ONCE: usize = 256 << 10;

pub(crate) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    speaker: Speaker,
    /// Plaintext to be sent, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// More can be sent, but the connection yields to others.
    is_unfinished: bool,
    is_over: bool,
}

enum Speaker {
    One(Http1),
    Two(Box<Http2>),
}

/// The result of a protocol step, besides data to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing, or incomplete input.
    On,
    /// The request waits until this number wait at the barrier of this name.
    Barrier { count: usize, name: u64 },
    /// The connection ends after the data to send.
    Last,
    /// The client violates the protocol.
    Malformed,
}

impl Connection {
    pub(crate) fn new(
        socket: TcpStream,
        tls: Option<ServerConnection>,
        http2: Option<u64>,
    ) -> Self {
        let speaker = match http2 {
            None => Speaker::One(Http1::default()),
            Some(length) => Speaker::Two(Box::new(Http2::new(length))),
        };
        Connection {
            socket,
            tls: tls.map(Box::new),
            speaker,
            out: Vec::new(),
            sent: 0,
            is_unfinished: false,
            is_over: false,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(crate) fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    /// Opens the barrier.
    pub(crate) fn release(&mut self) {
        if let Speaker::One(speaker) = &mut self.speaker {
            speaker.release(&mut self.out);
        }
        self.send();
    }

    /// Reads and writes as much as possible. Returns the barrier that a request waits at, if one does.
    pub(crate) fn turn(&mut self, scratch: &mut [u8], sees_end: bool) -> Option<(usize, u64)> {
        let mut barrier = None;
        while !self.is_over {
            match self.receive(scratch) {
                Ok((0, _)) => self.is_over = true,
                Ok((size, turn)) => {
                    match turn {
                        Turn::On => {}
                        Turn::Barrier { count, name } => barrier = Some((count, name)),
                        Turn::Last => {
                            self.send();
                            if let Some(tls) = &mut self.tls {
                                tls.send_close_notify();
                            }
                            self.send();
                            self.is_over = true;
                        }
                        Turn::Malformed => self.is_over = true,
                    }
                    // A short read has emptied the socket. An end is reported by an event, unless it
                    // arrived with the data.
                    if size < scratch.len() && !sees_end {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.is_over = true,
            }
        }
        if !self.is_over {
            self.send();
        }
        barrier
    }

    /// Reads once. Returns the size, and the result of the protocol step.
    fn receive(&mut self, scratch: &mut [u8]) -> io::Result<(usize, Turn)> {
        let size = self.socket.read(scratch)?;
        let Some(tls) = &mut self.tls else {
            let turn = self.speaker.hear(&scratch[..size], &mut self.out);
            return Ok((size, turn));
        };
        let mut cipher = &scratch[..size];
        let mut turn = Turn::On;
        let mut plain = [0; 16 << 10];
        while !cipher.is_empty() {
            tls.read_tls(&mut cipher)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            loop {
                match tls.reader().read(&mut plain) {
                    Ok(0) => return Ok((0, Turn::Last)),
                    Ok(size) => match self.speaker.hear(&plain[..size], &mut self.out) {
                        Turn::On => {}
                        other => turn = other,
                    },
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((size, turn))
    }

    /// Sends until nothing is left, the socket is full, or the connection has to yield.
    pub(crate) fn send(&mut self) {
        self.is_unfinished = false;
        match self.try_send() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => self.is_over = true,
            _ => {}
        }
    }

    fn try_send(&mut self) -> io::Result<()> {
        let mut made = 0;
        loop {
            while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
                tls.write_tls(&mut self.socket)?;
            }
            if self.sent == self.out.len() {
                self.out.clear();
                self.sent = 0;
                if made >= AT_ONCE {
                    self.is_unfinished = true;
                    return Ok(());
                }
                self.speaker.say(&mut self.out, AT_ONCE);
                made += self.out.len();
                if self.out.is_empty() {
                    return Ok(());
                }
            }
            let rest = &self.out[self.sent..];
            self.sent += match &mut self.tls {
                None => self.socket.write(rest)?,
                Some(tls) => tls.writer().write(rest)?,
            };
        }
    }
}

impl Speaker {
    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Turn {
        match self {
            Speaker::One(speaker) => speaker.hear(bytes, out),
            Speaker::Two(speaker) => speaker.hear(bytes, out),
        }
    }

    fn say(&mut self, out: &mut Vec<u8>, most: usize) {
        match self {
            Speaker::One(speaker) => speaker.say(out, most),
            Speaker::Two(speaker) => speaker.say(out, most),
        }
    }
}
