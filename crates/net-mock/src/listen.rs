//! Servers, and connecting to them.

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, ErrorKind},
    net::SocketAddr,
    path::Path as FilePath,
    sync::{Arc, Weak},
};

use httpcore_core_primitives::{BoxFuture, BoxStream, NetworkBackend, TcpOptions};

use crate::{
    connection::Connection,
    ends::Side,
    hosts::{Answer, DnsEntry, Handler, ListenAddr, Listener},
    link::{Connecting, Link},
    net::MockNet,
    progress::ScriptProgress,
    server::ServerStream,
    stream::{self, MockStream},
    timer::TimerHandle,
    tls::TlsServer,
    world::{State, World},
};

/// Handle to a listening server. Dropping it does not stop the server.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    net: Weak<World>,
    place: ListenAddr,
    progress: ScriptProgress,
}

impl ServerHandle {
    /// Sets the link of all future connections.
    pub fn link(&self, link: Link) -> &Self {
        self.links([link])
    }

    /// Sets the links of the next connections, in order; the last one applies to all that follow.
    pub fn links(&self, links: impl IntoIterator<Item = Link>) -> &Self {
        let links: VecDeque<Link> = links.into_iter().collect();
        self.with(|listener| listener.links = links);
        self
    }

    /// Returns the address; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.place {
            ListenAddr::Tcp(address) => Some(address),
            ListenAddr::Unix(_) => None,
        }
    }

    /// Returns the number of connection attempts so far, refused ones included.
    pub fn attempts(&self) -> usize {
        self.with(|listener| listener.accepted).unwrap_or(0)
    }

    /// Stops listening: further attempts are refused. Existing connections continue.
    pub fn stop(&self) {
        let Some(world) = self.net.upgrade() else {
            return;
        };
        let gone = world.with(|state, _| state.hosts.listeners.remove(&self.place));
        drop(gone);
    }

    /// Describes the scripts of this server that have not been played to their last step; empty if all
    /// have been.
    pub fn remaining(&self) -> Vec<String> {
        self.progress.remaining()
    }

    /// Asserts that every script of this server has been played to its last step.
    ///
    /// # Panics
    ///
    /// If one has not, with the step that it reached.
    pub fn assert_finished(&self) {
        let remaining = self.remaining();
        assert!(remaining.is_empty(), "{}", remaining.join("\n"));
    }

    pub(crate) fn recording(mut self, progress: ScriptProgress) -> Self {
        self.progress = progress;
        self
    }

    fn with<T>(&self, step: impl FnOnce(&mut Listener) -> T) -> Option<T> {
        let world = self.net.upgrade()?;
        world.with(|state, _| state.hosts.listeners.get_mut(&self.place).map(step))
    }
}

impl MockNet {
    /// Runs `server` for each connection to `host` and `port`. A name without an address is assigned
    /// one (10.0.0.1, 10.0.0.2, …); a literal address stands for itself.
    ///
    /// ```
    /// use httpcore_core_primitives::{NetworkBackend, TcpOptions};
    /// use httpcore_net_mock::MockNet;
    ///
    /// let net = MockNet::new();
    /// net.serve("echo.test", 7, async |mut stream| {
    ///     while let Ok(bytes) = stream.read_some().await {
    ///         if bytes.is_empty() || stream.write_all(bytes).await.is_err() {
    ///             break;
    ///         }
    ///     }
    /// });
    /// # let _ = TcpOptions::default();
    /// ```
    pub fn serve<F>(
        &self,
        host: &str,
        port: u16,
        server: impl Fn(ServerStream) -> F + Send + Sync + 'static,
    ) -> ServerHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (place, label) = self.place(host, port);
        self.listen(place, label, server)
    }

    /// The address of `host` and its label.
    pub(crate) fn place(&self, host: &str, port: u16) -> (ListenAddr, String) {
        let ip = self.world().with(|state, _| state.hosts.address_of(host));
        let place = ListenAddr::Tcp(SocketAddr::new(ip, port));
        (place, format!("{host}:{port}"))
    }

    /// Like [`serve`](Self::serve), over TLS: `server` gets the decrypted stream. It is not run for
    /// a connection whose handshake fails.
    pub fn serve_tls<F>(
        &self,
        host: &str,
        port: u16,
        tls: TlsServer,
        server: impl Fn(ServerStream) -> F + Send + Sync + 'static,
    ) -> ServerHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (tls, server) = (Arc::new(tls), Arc::new(server));
        self.serve(host, port, move |stream| {
            let (tls, server) = (tls.clone(), server.clone());
            async move {
                if let Ok(stream) = stream.accept_tls(&tls).await {
                    server(stream).await;
                }
            }
        })
    }

    /// Runs `server` for each connection to the Unix socket at `path`.
    pub fn serve_unix<F>(
        &self,
        path: impl AsRef<FilePath>,
        server: impl Fn(ServerStream) -> F + Send + Sync + 'static,
    ) -> ServerHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let path = path.as_ref();
        self.listen(
            ListenAddr::Unix(path.to_owned()),
            path.display().to_string(),
            server,
        )
    }

    pub(crate) fn listen<F>(
        &self,
        place: ListenAddr,
        label: String,
        server: impl Fn(ServerStream) -> F + Send + Sync + 'static,
    ) -> ServerHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let world = Arc::downgrade(self.world());
        let handler: Handler = Arc::new(move |accepted| match world.upgrade() {
            Some(world) => {
                let stream = MockStream::server(world, accepted);
                Box::pin(server(ServerStream::new(stream)))
            }
            // Without a world there is no connection either.
            None => Box::pin(async {}),
        });
        let listener = Listener {
            label,
            handler: Some(handler),
            ..Listener::default()
        };
        let before = self
            .world()
            .with(|state, _| state.hosts.listeners.insert(place.clone(), listener));
        drop(before);
        ServerHandle {
            net: Arc::downgrade(self.world()),
            place,
            progress: ScriptProgress::default(),
        }
    }

    /// Sets the result of looking up `host`.
    pub fn name(&self, host: &str, name: DnsEntry) {
        self.world().with(|state, _| {
            state.hosts.names.insert(host.to_ascii_lowercase(), name);
        });
    }

    /// Sets how connecting to `address` fails, where no server listens: [`Link::blackhole`],
    /// [`Link::unreachable`], or one of these with a latency. By default, connections to the address
    /// of a known name or server are refused, and any other address is unreachable.
    pub fn set_link(&self, address: SocketAddr, link: Link) {
        let listener = Listener {
            label: address.to_string(),
            links: VecDeque::from([link]),
            ..Listener::default()
        };
        let before = self.world().with(|state, _| {
            state
                .hosts
                .listeners
                .insert(ListenAddr::Tcp(address), listener)
        });
        drop(before);
    }

    /// Returns both ends of a connection without latency or faults, the client's and the server's, for
    /// tests of a protocol alone. Works outside [`run`](Self::run) too, with any waker.
    pub fn pair(&self) -> (BoxStream, ServerStream) {
        self.pair_with(Link::new())
    }

    /// Like [`pair`](Self::pair), over `link`, whose way of connecting is ignored.
    pub fn pair_with(&self, link: Link) -> (BoxStream, ServerStream) {
        let world = self.world();
        let (client, server) = world.with(|state, _| {
            let side = state.side();
            stream::connect(world, state, |id| {
                Connection::new(id, "pair".to_owned(), link, side)
            })
        });
        let server = MockStream::server(world.clone(), server);
        (Box::new(client), ServerStream::new(server))
    }
}

impl NetworkBackend for MockNet {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let (world, host) = (self.world().clone(), host.to_owned());
        Box::pin(async move {
            let (name, unknown, now) = world.with(|state, _| {
                let hosts = &state.hosts;
                let unknown = hosts.unknown_name(&host);
                (hosts.look_up(&host), unknown, state.event_queue.now())
            });
            let until = match name.answer {
                Answer::Never => None,
                _ => Some(now.saturating_add(name.after)),
            };
            TimerHandle::attempt(world, format!("look up {host}"))
                .until(until)
                .await;
            match name.answer {
                Answer::Addresses(all) => Ok(all
                    .into_iter()
                    .map(|ip| SocketAddr::new(ip, port))
                    .collect()),
                Answer::Fails(kind) => Err(failure(kind, unknown)),
                Answer::Never => Err(ErrorKind::NotFound.into()),
            }
        })
    }

    fn connect_tcp(
        &self,
        peer: SocketAddr,
        options: &TcpOptions,
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (world, options) = (self.world().clone(), options.clone());
        Box::pin(async move {
            let local = |state: &mut State| Some(state.hosts.local_for(peer, &options));
            connect(world, ListenAddr::Tcp(peer), local).await
        })
    }

    fn connect_unix(&self, path: &FilePath) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (world, place) = (self.world().clone(), ListenAddr::Unix(path.to_owned()));
        Box::pin(connect(world, place, |_| None))
    }
}

/// An error of `kind`, with the reason unless the test has set the failure.
fn failure(kind: ErrorKind, unknown: Option<String>) -> io::Error {
    match unknown {
        Some(why) => io::Error::new(kind, why),
        None => kind.into(),
    }
}

async fn connect(
    world: Arc<World>,
    place: ListenAddr,
    local: impl FnOnce(&mut State) -> Option<SocketAddr>,
) -> io::Result<BoxStream> {
    let (peer, what) = match &place {
        ListenAddr::Tcp(peer) => (Some(*peer), format!("connect to {peer}")),
        ListenAddr::Unix(path) => (None, format!("connect to {}", path.display())),
    };
    let (link, unknown, now) = world.with(|state, _| {
        let unknown = state.hosts.unknown_place(&place);
        (
            state.hosts.link_for_attempt(&place),
            unknown,
            state.event_queue.now(),
        )
    });
    let until = match link.connecting {
        Connecting::Unanswered => None,
        _ => Some(now.saturating_add(link.dialling())),
    };
    TimerHandle::attempt(world.clone(), what).until(until).await;
    match link.connecting {
        Connecting::Succeeds => {}
        Connecting::Unanswered => return Err(ErrorKind::TimedOut.into()),
        Connecting::Absent => return Err(failure(ErrorKind::NotFound, unknown)),
        Connecting::Refused => return Err(failure(ErrorKind::ConnectionRefused, unknown)),
        Connecting::Unreachable => return Err(failure(ErrorKind::HostUnreachable, unknown)),
    }
    let made = world.with(|state, _| {
        let listener = state.hosts.listeners.get(&place)?;
        let (handler, label) = (listener.handler.clone()?, listener.label.clone());
        let (local, side) = (local(state), state.side());
        let (client, server) = stream::connect(&world, state, |id| {
            let mut one = Connection::new(id, label.clone(), link, side);
            (one.client, one.server) = (local, peer);
            one
        });
        Some((handler, label, client, server))
    });
    let Some((handler, label, client, server)) = made else {
        return Err(ErrorKind::ConnectionRefused.into());
    };
    // The client's end is a value by now: if this panics, or is dropped, the end goes with it.
    let name = format!("{label} #{}", server.id);
    world.spawn("server", name, Side::Server, handler(server));
    Ok(Box::new(client))
}
