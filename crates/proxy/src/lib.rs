//! Proxies for an HTTP client, without I/O.
//!
//! - [`Proxy`] says where a proxy is, which protocol it speaks, and with which credentials.
//! - [`ProxyRules`] chooses a proxy for an origin, from the variables of an environment
//!   (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) or from values of the caller's.
//! - [`Socks4`], [`Socks5`] and [`Connect`] negotiate a tunnel: machines which are given the bytes
//!   that arrived and say which bytes to send. They have no clock, no socket and no `async`, and what they
//!   decide does not depend on how the bytes were cut.
//! - [`negotiate`] runs one of them over a
//!   [`NetworkStream`](httpcore_core_primitives::NetworkStream).
//! - [`haproxy`] writes the PROXY protocol's header, with which a client tells a proxy the addresses of
//!   a connection.
//!
//! ```
//! use bytes::BytesMut;
//! use httpcore_proxy::{Negotiation, Progress, Socks5, Target};
//!
//! let mut socks = Socks5::new(&Target::new("example.com", 443)?, None)?;
//! assert_eq!(socks.output(), b"\x05\x01\x00");
//! socks.advance(3);
//! let mut input = BytesMut::from(&b"\x05\x00"[..]);
//! assert_eq!(socks.receive(&mut input, false)?, Progress::Pending);
//! assert_eq!(socks.output(), b"\x05\x01\x00\x03\x0bexample.com\x01\xbb");
//! # Ok::<(), httpcore_proxy::ProxyError>(())
//! ```
//!
//! # Security
//!
//! Credentials go to the proxy they belong to and nowhere else: no `Debug` and no `Display` prints
//! them. What a proxy sends is bounded: a head by the HTTP/1.1 codec's limits, the body of a refusal
//! by [`MAX_REFUSAL_BODY`], a SOCKS reply by its format (at most 262 bytes).

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;
mod error;
pub mod haproxy;
mod negotiation;
mod no_proxy;
mod proxy;
mod rules;
mod socks4;
mod socks5;
mod target;

pub use connect::{Challenge, Challenges, Connect, ConnectDecision, MAX_REFUSAL_BODY};
pub use error::{ProxyError, Refusal, SocksReply};
pub use negotiation::{Negotiation, Progress, Tunnel, negotiate};
pub use no_proxy::NoProxy;
pub use proxy::{Proxy, ProxyAddress, ProxyProtocol};
pub use rules::ProxyRules;
pub use socks4::Socks4;
pub use socks5::Socks5;
pub use target::{Target, TargetHost};
