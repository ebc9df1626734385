//! Servers which speak HTTP/2, in whatever way they come to it, and answer alike.

use std::io;

use httpcore_origin::Origin;

use crate::{Authority, Server, apache, left_out, nghttpd, nginx, node, proxies, python};

/// A server of HTTP/2. Most are set before an origin of ours (HTTP/1.1), as they are in the wild.
///
/// | request | response |
/// |---|---|
/// | `GET /hello` | a line |
/// | `GET /bytes/268435456` | 256 MiB; most serve any other number too |
/// | `POST /echo` | the body |
/// | `POST /sink` | how many bytes came, in digits; nghttpd has no such thing, and sends them back |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// Apache with `mod_http2`, before the origin.
    Apache,
    /// Caddy, before the origin.
    Caddy,
    /// h2o, before the origin.
    H2o,
    /// HAProxy, before the origin.
    Haproxy,
    /// Hypercorn, with an application of ours.
    Hypercorn,
    /// nghttp2's own server, with files, echo, and a trailer `x-checksum: 1234` on each response
    /// with content. Knows nothing but HTTP/2.
    Nghttpd,
    /// nginx: `/hello` and `/bytes/268435456` are files, the rest is the origin's.
    Nginx,
    /// Node's `http2`, with the routes of `node.mjs`.
    Node,
}

/// How a [`Front`] is spoken to.
#[derive(Clone, Copy, Debug)]
pub enum Door<'a> {
    /// Without TLS. nginx, nghttpd and Node then speak nothing but HTTP/2.
    Plain,
    /// With it, both protocols being offered (ALPN) where there are both.
    ///
    /// The header field `x-resumed` of a response says whether the server sees a resumed session:
    /// `yes`, or whatever its word for it is. See [`Front::says_resumed`].
    Tls(&'a Authority),
}

impl Front {
    /// All of them.
    pub const ALL: [Front; 8] = [
        Front::Apache,
        Front::Caddy,
        Front::H2o,
        Front::Haproxy,
        Front::Hypercorn,
        Front::Nghttpd,
        Front::Nginx,
        Front::Node,
    ];

    /// What `HTTPCORE_LEFT_OUT` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Front::Apache => "apache",
            Front::Caddy => "caddy",
            Front::H2o => "h2o",
            Front::Haproxy => "haproxy",
            Front::Hypercorn => "hypercorn",
            Front::Nghttpd => "nghttpd",
            Front::Nginx => "nginx",
            Front::Node => "node",
        }
    }

    /// What it writes into `x-resumed` for a new session and for a resumed one; `None` if it keeps
    /// that to itself.
    pub fn says_resumed(self) -> Option<(&'static str, &'static str)> {
        match self {
            Front::Apache => Some(("Initial", "Resumed")),
            Front::Caddy => Some(("false", "true")),
            Front::Haproxy => Some(("0", "1")),
            Front::Nginx => Some((".", "r")),
            Front::Node => Some(("false", "true")),
            Front::H2o | Front::Hypercorn | Front::Nghttpd => None,
        }
    }

    /// Starts it, or says that it is left out and returns `None`.
    ///
    /// # Panics
    ///
    /// If it does not start, and `HTTPCORE_LEFT_OUT` does not name it.
    pub fn require(self, door: Door<'_>) -> Option<Server> {
        left_out::or_start(self.name(), || self.start(door))
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// If its program is missing or ends before it is ready; its log is in the error.
    pub fn start(self, door: Door<'_>) -> io::Result<Server> {
        let before = Origin::start;
        match self {
            Front::Apache => apache::front(door, before()?),
            Front::Caddy => proxies::caddy(door, before()?),
            Front::H2o => proxies::h2o(door, before()?),
            Front::Haproxy => proxies::haproxy(door, before()?),
            Front::Hypercorn => python::hypercorn(door),
            Front::Nghttpd => nghttpd::start(door, &[]),
            Front::Nginx => nginx::front(door, before()?, ""),
            Front::Node => node::http2(door),
        }
    }
}
