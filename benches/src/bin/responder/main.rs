//! A server that is fast enough for the client to be measured: one thread, prepared responses, HTTP/1.1 and
//! HTTP/2, with TLS and without.
//!
//! `responder FOLDER LARGE` writes its certificate into FOLDER (`ca.pem`, `cert.pem`, `key.pem`),
//! prints its addresses as a line of JSON, and serves until its input ends. Its HTTP/2 does not decode
//! header fields, so the port selects the response: the small one, or LARGE bytes.
//!
//! | path (HTTP/1.1) | response |
//! |---|---|
//! | `/hello` | 14 bytes |
//! | `/eleven` | 14 bytes after eleven header fields |
//! | `/four` | 64 bytes after four header fields: `Server`, `Date`, `Content-Type`, `Content-Length` |
//! | `/bytes/N` | N bytes |
//! | `/barrier/N`, `/barrier/N/NAME` | 2 bytes, once N requests wait for them (NAME: a number) |
//! | a POST of any path | 2 bytes, once the body has been read |

#![forbid(unsafe_code)]

mod connection;
mod dead;
mod http1;
mod http2;
mod tls;

use std::{
    collections::HashMap,
    env,
    error::Error,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    thread,
    time::Duration,
};

use connection::Connection;
use dead::{Dead, Death};
use mio::{Events, Interest, Poll, Token, net::TcpListener};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The protocol of one port.
struct Endpoint {
    name: &'static str,
    tls: Option<&'static [u8]>,
    /// The length of each response over HTTP/2; `None` for HTTP/1.1.
    http2: Option<u64>,
    /// The kind of dead address that is tried first, and whether it is IPv6.
    behind: Option<(Death, bool)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, large] = arguments.as_slice() else {
        return Err("usage: responder FOLDER LARGE".into());
    };
    let large: u64 = large.parse()?;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    let endpoint = |name, tls, http2| Endpoint {
        name,
        tls,
        http2,
        behind: None,
    };
    let behind = |name, death, is_ipv6| Endpoint {
        behind: Some((death, is_ipv6)),
        ..endpoint(name, None, None)
    };
    let endpoints = [
        endpoint("h1", None, None),
        endpoint("https", Some(b"http/1.1".as_slice()), None),
        endpoint("h2c", None, Some(http2::SMALL)),
        endpoint("h2c_large", None, Some(large)),
        endpoint("h2", Some(b"h2".as_slice()), Some(http2::SMALL)),
        endpoint("h2_large", Some(b"h2".as_slice()), Some(large)),
        behind("silent6", Death::Silent, true),
        behind("silent", Death::Silent, false),
        behind("refusing", Death::Refusing, false),
    ];
    let acceptor = tls::Acceptor::new(Path::new(folder))?;
    thread::spawn(|| {
        // The starting process holds the other end.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0)
    });
    Server::open(&endpoints)?.serve(&endpoints, &acceptor)
}

struct Server {
    poll: Poll,
    doors: HashMap<Token, TcpListener>,
    /// The sockets behind dead addresses.
    _dead: Vec<Dead>,
    connections: HashMap<Token, Connection>,
    next: usize,
    /// Connections that wait at a barrier, by its name.
    waiting: HashMap<u64, Vec<Token>>,
}

impl Server {
    fn open(endpoints: &[Endpoint]) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut doors = HashMap::new();
        let mut fields = Vec::new();
        let mut all_dead = Vec::new();
        for (n, endpoint) in endpoints.iter().enumerate() {
            let (mut door, addr) = match endpoint.behind {
                None => {
                    let door = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
                    let addr = door.local_addr()?.to_string();
                    (door, addr)
                }
                Some((death, is_ipv6)) => match dead::open(death, is_ipv6) {
                    Ok((door, dead)) => {
                        let addresses = dead.addresses.clone();
                        all_dead.push(dead);
                        (door, addresses)
                    }
                    // IPv6 may be missing; an endpoint that is not printed is not used.
                    Err(error) => {
                        eprintln!("no address for {}: {error}", endpoint.name);
                        continue;
                    }
                },
            };
            fields.push(format!(r#""{}":"{addr}""#, endpoint.name));
            poll.registry()
                .register(&mut door, Token(n), Interest::READABLE)?;
            doors.insert(Token(n), door);
        }
        println!("{{{}}}", fields.join(","));
        Ok(Server {
            poll,
            next: endpoints.len(),
            doors,
            _dead: all_dead,
            connections: HashMap::new(),
            waiting: HashMap::new(),
        })
    }

    fn serve(
        mut self,
        endpoints: &[Endpoint],
        acceptor: &tls::Acceptor,
    ) -> Result<(), Box<dyn Error>> {
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; 256 << 10];
        let mut unfinished: Vec<Token> = Vec::new();
        loop {
            let timeout = (!unfinished.is_empty()).then_some(Duration::ZERO);
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error.into());
            }
            for event in &events {
                let token = event.token();
                if let Some(endpoint) = endpoints.get(token.0) {
                    self.accept(token, endpoint, acceptor)?;
                    continue;
                }
                let Some(connection) = self.connections.get_mut(&token) else {
                    continue;
                };
                let sees_end = event.is_read_closed() || event.is_error();
                let barrier = connection.turn(&mut scratch, sees_end);
                if connection.is_unfinished() && !unfinished.contains(&token) {
                    unfinished.push(token);
                }
                if connection.is_over() {
                    self.connections.remove(&token);
                    for waiting in self.waiting.values_mut() {
                        waiting.retain(|other| *other != token);
                    }
                } else if let Some((count, name)) = barrier {
                    let waiting = self.waiting.entry(name).or_default();
                    waiting.push(token);
                    if waiting.len() >= count {
                        self.release(name);
                    }
                }
            }
            // After all other connections.
            unfinished.retain(|token| match self.connections.get_mut(token) {
                Some(connection) => {
                    connection.send();
                    if connection.is_over() {
                        self.connections.remove(token);
                        return false;
                    }
                    connection.is_unfinished()
                }
                None => false,
            });
        }
    }

    fn accept(
        &mut self,
        door: Token,
        endpoint: &Endpoint,
        acceptor: &tls::Acceptor,
    ) -> Result<(), Box<dyn Error>> {
        let Some(listener) = self.doors.get(&door) else {
            return Ok(());
        };
        loop {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The client may have closed already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error.into()),
            };
            socket.set_nodelay(true)?;
            let token = Token(self.next);
            self.next += 1;
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, token, both)?;
            let tls = endpoint.tls.map(|alpn| acceptor.accept(alpn)).transpose()?;
            let connection = Connection::new(socket, tls, endpoint.http2);
            self.connections.insert(token, connection);
        }
    }

    /// Answers all requests at a barrier.
    fn release(&mut self, name: u64) {
        for token in self.waiting.remove(&name).unwrap_or_default() {
            if let Some(connection) = self.connections.get_mut(&token) {
                connection.release();
            }
        }
    }
}
