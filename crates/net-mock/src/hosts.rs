//! Names, addresses and paths, and the listeners at them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use httpcore_core_primitives::{BoxFuture, ConnectionInfo, TcpOptions};

use crate::link::{Connecting, Link};

/// The first port given to a client; RFC 6335 §6: the dynamic ports.
const FIRST_PORT: u16 = 49152;

/// What runs a server on one connection.
pub(crate) type Handler = Arc<dyn Fn(Accepted) -> BoxFuture<'static, ()> + Send + Sync>;

/// The server's end of a connection that has been made: not a stream yet, since a world knows the
/// handlers of its servers and must not be known by them.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) id: u64,
    pub(crate) info: ConnectionInfo,
}

/// The names and listeners of a world.
#[derive(Default)]
pub(crate) struct Hosts {
    pub(crate) names: BTreeMap<String, DnsEntry>,
    pub(crate) listeners: HashMap<ListenAddr, Listener>,
    addresses: u32,
    ports: u16,
}

/// The address or path of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ListenAddr {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) label: String,
    pub(crate) handler: Option<Handler>,
    /// Links of the next connections; the last one stays.
    pub(crate) links: VecDeque<Link>,
    pub(crate) accepted: usize,
}

/// Result of looking up a name.
///
/// ```
/// use httpcore_net_mock::{MockNet, DnsEntry};
/// use std::{io::ErrorKind, time::Duration};
///
/// let net = MockNet::new();
/// net.name("two.test", DnsEntry::addresses(["10.0.1.1", "fd00::1"]));
/// net.name("slow.test", DnsEntry::addresses(["10.0.1.2"]).after(Duration::from_secs(3)));
/// net.name("none.test", DnsEntry::fails(ErrorKind::NotFound));
/// net.name("silent.test", DnsEntry::never());
/// ```
#[derive(Clone, Debug)]
pub struct DnsEntry {
    pub(crate) answer: Answer,
    pub(crate) after: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Addresses(Vec<IpAddr>),
    Fails(ErrorKind),
    Never,
}

impl DnsEntry {
    /// The name resolves to these addresses, in this order.
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

    /// The look-up fails; with [`ErrorKind::NotFound`], the name does not exist.
    pub fn fails(kind: ErrorKind) -> Self {
        Self::answering(Answer::Fails(kind))
    }

    /// The look-up never completes.
    pub fn never() -> Self {
        Self::answering(Answer::Never)
    }

    /// Sets the time that the look-up takes; zero by default.
    pub fn after(mut self, duration: Duration) -> Self {
        self.after = duration;
        self
    }

    fn answering(answer: Answer) -> Self {
        DnsEntry {
            answer,
            after: Duration::ZERO,
        }
    }
}

impl Hosts {
    /// The address of `host`: itself if it is one, the first it has, or a new one.
    pub(crate) fn address_of(&mut self, host: &str) -> IpAddr {
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
            DnsEntry::answering(Answer::Addresses(vec![address.into()])),
        );
        address.into()
    }

    pub(crate) fn look_up(&self, host: &str) -> DnsEntry {
        if let Some(address) = literal(host) {
            return DnsEntry::answering(Answer::Addresses(vec![address]));
        }
        match self.names.get(&host.to_ascii_lowercase()) {
            Some(name) => name.clone(),
            None => DnsEntry::fails(ErrorKind::NotFound),
        }
    }

    /// The link of a new attempt to connect to `place`.
    pub(crate) fn link_for_attempt(&mut self, place: &ListenAddr) -> Link {
        if let Some(listener) = self.listeners.get_mut(place) {
            listener.accepted += 1;
            return match listener.links.len() {
                0 => Link::new(),
                1 => listener.links[0].clone(),
                _ => listener.links.pop_front().unwrap_or_default(),
            };
        }
        match place {
            ListenAddr::Unix(_) => Link {
                connecting: Connecting::Absent,
                ..Link::default()
            },
            // A known host without that port refuses.
            ListenAddr::Tcp(address) if self.is_known(address.ip()) => Link::refused(),
            ListenAddr::Tcp(_) => Link::unreachable(),
        }
    }

    /// Describes what is served: at most `MOST` addresses.
    fn served(&self) -> String {
        const MOST: usize = 20;
        let listens = |listener: &&Listener| listener.handler.is_some();
        let mut labels: Vec<&str> = (self.listeners.values().filter(listens))
            .map(|listener| &*listener.label)
            .collect();
        labels.sort_unstable();
        match labels.len() {
            0 => "nothing is served".to_owned(),
            count if count > MOST => {
                let (some, rest) = (labels[..MOST].join(", "), count - MOST);
                format!("served are {some} and {rest} more")
            }
            _ => format!("served are {}", labels.join(", ")),
        }
    }

    /// Why looking up `host` fails, if that is because no server and no test has named it.
    pub(crate) fn unknown_name(&self, host: &str) -> Option<String> {
        let is_known =
            literal(host).is_some() || self.names.contains_key(&host.to_ascii_lowercase());
        (!is_known).then(|| format!("this MockNet has no host {host:?}; {}", self.served()))
    }

    /// Why connecting to `place` fails, if that is because nothing listens there and no test has said
    /// what happens there.
    pub(crate) fn unknown_place(&self, place: &ListenAddr) -> Option<String> {
        let at = match place {
            ListenAddr::Tcp(address) => address.to_string(),
            ListenAddr::Unix(path) => path.display().to_string(),
        };
        let is_known = self.listeners.contains_key(place);
        (!is_known).then(|| format!("this MockNet serves nothing at {at}; {}", self.served()))
    }

    fn is_known(&self, ip: IpAddr) -> bool {
        let listens =
            |place: &ListenAddr| matches!(place, ListenAddr::Tcp(address) if address.ip() == ip);
        let named =
            |name: &DnsEntry| matches!(&name.answer, Answer::Addresses(all) if all.contains(&ip));
        self.listeners.keys().any(listens) || self.names.values().any(named)
    }

    pub(crate) fn local_for(&mut self, peer: SocketAddr, options: &TcpOptions) -> SocketAddr {
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
