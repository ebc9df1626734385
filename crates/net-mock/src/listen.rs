//! Hosts: names, addresses, paths, and the servers that listen there.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::Future,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

use httpcore_core_primitives::{BoxFuture, BoxStream, NetworkBackend, TcpOptions};

use crate::{
    connection::Connection,
    link::{Connecting, Link},
    report::Side,
    server::ServerStream,
    stream,
    wait::Waiting,
    world::{MockNet, State, World},
};

/// The first port given to a client; RFC 6335 §6: the dynamic ports.
const FIRST_PORT: u16 = 49152;

pub(crate) type Handler = Arc<dyn Fn(ServerStream) -> BoxFuture<'static, ()> + Send + Sync>;

/// Who lives where.
#[derive(Default)]
pub(crate) struct Hosts {
    names: BTreeMap<String, Name>,
    places: HashMap<Place, Listener>,
    addresses: u32,
    ports: u16,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Default)]
struct Listener {
    label: String,
    handler: Option<Handler>,
    /// What the next connections are like; the last one stays.
    links: VecDeque<Link>,
    accepted: usize,
}

/// What becomes of looking up a name.
///
/// ```
/// use httpcore_net_mock::{MockNet, Name};
/// use std::{io::ErrorKind, time::Duration};
///
/// let net = MockNet::new();
/// net.name("two.test", Name::addresses(["10.0.1.1", "fd00::1"]));
/// net.name("slow.test", Name::addresses(["10.0.1.2"]).after(Duration::from_secs(3)));
/// net.name("none.test", Name::fails(ErrorKind::NotFound));
/// net.name("silent.test", Name::unanswered());
/// ```
#[derive(Clone, Debug)]
pub struct Name {
    answer: Answer,
    after: Duration,
}

#[derive(Clone, Debug)]
enum Answer {
    Addresses(Vec<IpAddr>),
    Fails(ErrorKind),
    Never,
}

impl Name {
    /// The name has these addresses, to be tried in this order.
    ///
    /// # Panics
    ///
    /// If one of them is not an IP address.
    pub fn addresses<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Self {
        let parse = |address: A| match address.as_ref().parse() {
            Ok(address) => address,
            Err(_) => panic!("{:?} is no IP address", address.as_ref()),
        };
        Self::answering(Answer::Addresses(
            addresses.into_iter().map(parse).collect(),
        ))
    }

    /// Looking the name up fails; with [`ErrorKind::NotFound`], it does not exist.
    pub fn fails(kind: ErrorKind) -> Self {
        Self::answering(Answer::Fails(kind))
    }

    /// Looking the name up never ends.
    pub fn unanswered() -> Self {
        Self::answering(Answer::Never)
    }

    /// The answer takes so long.
    pub fn after(mut self, duration: Duration) -> Self {
        self.after = duration;
        self
    }

    fn answering(answer: Answer) -> Self {
        Name {
            answer,
            after: Duration::ZERO,
        }
    }
}

impl Hosts {
    /// The address of `host`: itself if it is one, the first it has, or a new one.
    fn address_of(&mut self, host: &str) -> IpAddr {
        if let Some(address) = literal(host) {
            return address;
        }
        let name = host.to_ascii_lowercase();
        if let Some(Answer::Addresses(addresses)) = self.names.get(&name).map(|name| &name.answer)
            && let Some(first) = addresses.first()
        {
            return *first;
        }
        self.addresses += 1;
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + self.addresses);
        self.names.insert(
            name,
            Name::answering(Answer::Addresses(vec![address.into()])),
        );
        address.into()
    }

    fn look_up(&self, host: &str) -> Name {
        if let Some(address) = literal(host) {
            return Name::answering(Answer::Addresses(vec![address]));
        }
        match self.names.get(&host.to_ascii_lowercase()) {
            Some(name) => name.clone(),
            None => Name::fails(ErrorKind::NotFound),
        }
    }

    /// What an attempt to connect to `place` meets.
    fn meet(&mut self, place: &Place) -> Link {
        if let Some(listener) = self.places.get_mut(place) {
            listener.accepted += 1;
            return match listener.links.len() {
                0 => Link::new(),
                1 => listener.links[0].clone(),
                _ => listener.links.pop_front().unwrap_or_default(),
            };
        }
        match place {
            Place::Unix(_) => Link {
                connecting: Connecting::Absent,
                ..Link::default()
            },
            // Where there is a host but no such port, somebody is there to refuse.
            Place::Tcp(address) if self.is_known(address.ip()) => Link::refused(),
            Place::Tcp(_) => Link::unreachable(),
        }
    }

    fn is_known(&self, ip: IpAddr) -> bool {
        let listens = |place: &Place| matches!(place, Place::Tcp(address) if address.ip() == ip);
        let named =
            |name: &Name| matches!(&name.answer, Answer::Addresses(all) if all.contains(&ip));
        self.places.keys().any(listens) || self.names.values().any(named)
    }

    fn local_for(&mut self, peer: SocketAddr, options: &TcpOptions) -> SocketAddr {
        let port = FIRST_PORT + self.ports;
        self.ports = (self.ports + 1) % (u16::MAX - FIRST_PORT);
        let ip = match (options.local_for(peer), peer) {
            (Some(local), _) => local.ip(),
            (None, SocketAddr::V4(_)) => Ipv4Addr::new(10, 255, 0, 1).into(),
            (None, SocketAddr::V6(_)) => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xff, 1).into(),
        };
        SocketAddr::new(ip, port)
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// A place where a server listens. Dropping this changes nothing.
#[derive(Clone, Debug)]
pub struct Served {
    net: std::sync::Weak<World>,
    place: Place,
}

impl Served {
    /// Every connection to be made here is like `link`.
    pub fn link(&self, link: Link) -> &Self {
        self.links([link])
    }

    /// The next connections to be made here are like `links`, one after the other, and all that
    /// follow are like the last.
    pub fn links(&self, links: impl IntoIterator<Item = Link>) -> &Self {
        let links: VecDeque<Link> = links.into_iter().collect();
        self.with(|listener| listener.links = links);
        self
    }

    /// The address; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Tcp(address) => Some(address),
            Place::Unix(_) => None,
        }
    }

    /// How many attempts to connect have been met here, refused ones included.
    pub fn attempts(&self) -> usize {
        self.with(|listener| listener.accepted).unwrap_or(0)
    }

    /// Stops listening: further attempts are refused. Connections which exist go on.
    pub fn stop(&self) {
        let Some(world) = self.net.upgrade() else {
            return;
        };
        let gone = world.with(|state, _| state.hosts.places.remove(&self.place));
        drop(gone);
    }

    fn with<T>(&self, step: impl FnOnce(&mut Listener) -> T) -> Option<T> {
        let world = self.net.upgrade()?;
        world.with(|state, _| state.hosts.places.get_mut(&self.place).map(step))
    }
}

impl MockNet {
    /// Lets `server` answer each connection to `host` and `port`. A name which has no address yet
    /// is given one (10.0.0.1, 10.0.0.2, …); a literal address is its own.
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
    ) -> Served
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = self.world().with(|state, _| state.hosts.address_of(host));
        let place = Place::Tcp(SocketAddr::new(address, port));
        self.listen(place, format!("{host}:{port}"), server)
    }

    /// Lets `server` answer each connection to the Unix socket at `path`.
    pub fn serve_unix<F>(
        &self,
        path: impl AsRef<FilePath>,
        server: impl Fn(ServerStream) -> F + Send + Sync + 'static,
    ) -> Served
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let path = path.as_ref();
        self.listen(
            Place::Unix(path.to_owned()),
            path.display().to_string(),
            server,
        )
    }

    fn listen<F>(
        &self,
        place: Place,
        label: String,
        server: impl Fn(ServerStream) -> F + Send + Sync + 'static,
    ) -> Served
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = Listener {
            label,
            handler: Some(Arc::new(move |stream| Box::pin(server(stream)))),
            ..Listener::default()
        };
        let before = self
            .world()
            .with(|state, _| state.hosts.places.insert(place.clone(), listener));
        drop(before);
        Served {
            net: Arc::downgrade(self.world()),
            place,
        }
    }

    /// Says what becomes of looking up `host`.
    pub fn name(&self, host: &str, name: Name) {
        self.world().with(|state, _| {
            state.hosts.names.insert(host.to_ascii_lowercase(), name);
        });
    }

    /// Says what connecting to `address` meets, where nobody listens: [`Link::blackhole`],
    /// [`Link::unreachable`], or one of these with a latency. Without this, an address that some
    /// name or server has is refused, and any other is unreachable.
    pub fn fate(&self, address: SocketAddr, link: Link) {
        let listener = Listener {
            label: address.to_string(),
            links: VecDeque::from([link]),
            ..Listener::default()
        };
        let before = self
            .world()
            .with(|state, _| state.hosts.places.insert(Place::Tcp(address), listener));
        drop(before);
    }

    /// Two ends of a perfect connection, the client's and the server's, for tests of a protocol by
    /// itself. Works outside [`run`](Self::run) too, with wakers of any kind.
    pub fn pair(&self) -> (BoxStream, ServerStream) {
        self.pair_with(Link::new())
    }

    /// As [`pair`](Self::pair), over `link`; how `link` connects is not asked.
    pub fn pair_with(&self, link: Link) -> (BoxStream, ServerStream) {
        let world = self.world();
        let (client, server) = world.with(|state, _| {
            let side = state.side();
            stream::connect(world, state, |id| {
                Connection::new(id, "pair".to_owned(), link, side)
            })
        });
        (Box::new(client), ServerStream::new(server))
    }
}

impl NetworkBackend for MockNet {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let (world, host) = (self.world().clone(), host.to_owned());
        Box::pin(async move {
            let (name, now) =
                world.with(|state, _| (state.hosts.look_up(&host), state.agenda.now()));
            let until = match name.answer {
                Answer::Never => None,
                _ => Some(now + name.after),
            };
            Waiting::attempt(world, format!("look up {host}"))
                .until(until)
                .await;
            match name.answer {
                Answer::Addresses(all) => Ok(all
                    .into_iter()
                    .map(|ip| SocketAddr::new(ip, port))
                    .collect()),
                Answer::Fails(kind) => Err(kind.into()),
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
            connect(world, Place::Tcp(peer), local).await
        })
    }

    fn connect_unix(&self, path: &FilePath) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (world, place) = (self.world().clone(), Place::Unix(path.to_owned()));
        Box::pin(connect(world, place, |_| None))
    }
}

async fn connect(
    world: Arc<World>,
    place: Place,
    local: impl FnOnce(&mut State) -> Option<SocketAddr>,
) -> io::Result<BoxStream> {
    let (peer, what) = match &place {
        Place::Tcp(peer) => (Some(*peer), format!("connect to {peer}")),
        Place::Unix(path) => (None, format!("connect to {}", path.display())),
    };
    let (link, now) = world.with(|state, _| (state.hosts.meet(&place), state.agenda.now()));
    let until = match link.connecting {
        Connecting::Unanswered => None,
        _ => Some(now + link.round_trip()),
    };
    Waiting::attempt(world.clone(), what).until(until).await;
    match link.connecting {
        Connecting::Succeeds => {}
        Connecting::Unanswered => return Err(ErrorKind::TimedOut.into()),
        Connecting::Absent => return Err(ErrorKind::NotFound.into()),
        Connecting::Refused => return Err(ErrorKind::ConnectionRefused.into()),
        Connecting::Unreachable => return Err(ErrorKind::HostUnreachable.into()),
    }
    let made = world.with(|state, _| {
        let listener = state.hosts.places.get(&place)?;
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
    let server = ServerStream::new(server);
    let name = format!("{label} #{}", server.id());
    world.spawn("server", name, Side::Server, handler(server));
    Ok(Box::new(client))
}
