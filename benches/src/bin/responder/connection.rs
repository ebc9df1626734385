//! One connection: bytes in, bytes out, and TLS between if there is any.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use rustls::ServerConnection;

use crate::{http1::Http1, http2::Http2};

/// How much is made to be sent at once.
const AT_ONCE: usize = 256 << 10;

pub(crate) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    speaker: Speaker,
    /// What is to be sent, before TLS; from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// There is more to send, and room for it: it is others' turn.
    is_unfinished: bool,
    is_over: bool,
}

enum Speaker {
    One(Http1),
    Two(Box<Http2>),
}

/// What speakers may come to, apart from something to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// More is to come, or nothing.
    On,
    /// The request waits until so many do at the barrier of this name.
    Barrier { count: usize, name: u64 },
    /// Nothing comes after what is to be sent.
    Last,
    /// The client makes no sense.
    Nonsense,
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

    /// The barrier is open.
    pub(crate) fn release(&mut self) {
        if let Speaker::One(speaker) = &mut self.speaker {
            speaker.release(&mut self.out);
        }
        self.send();
    }

    /// Reads and writes all that can be. Yields how many a request waits for and where, if one does.
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
                        Turn::Nonsense => self.is_over = true,
                    }
                    // A short read has taken all there was. An end is no reason to read again: it
                    // has an event, unless it came with the data.
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

    /// One read. Yields its size, and what the speaker makes of it.
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

    /// Sends until nothing is left, nothing more fits, or it is others' turn.
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
