//! A network in virtual time, for tests.
//!
//! [`MockNet`] is a world of its own: names, hosts, servers, links, tasks and a clock, on one
//! thread, without sockets. It implements
//! [`NetworkBackend`](httpcore_core_primitives::NetworkBackend), and so whatever is built upon
//! that runs in it unchanged.
//!
//! ```
//! use httpcore_core_primitives::{NetworkBackend, TcpOptions};
//! use httpcore_net_mock::{Link, MockNet};
//! use std::{future::poll_fn, io::IoSlice, time::Duration};
//!
//! let net = MockNet::new();
//! net.serve("greeting.test", 80, async |mut stream| {
//!     stream.read_until("\n").await.unwrap();
//!     stream.sleep(Duration::from_secs(3600)).await;
//!     stream.write_all("hello\n").await.unwrap();
//! })
//! .link(Link::new().latency(Duration::from_millis(10)));
//!
//! let heard = net.run(async {
//!     let address = net.resolve("greeting.test", 80).await.unwrap()[0];
//!     let mut stream = net.connect_tcp(address, &TcpOptions::default()).await.unwrap();
//!     poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(b"hi\n")])).await.unwrap();
//!     let mut heard = bytes::BytesMut::with_capacity(64);
//!     poll_fn(|cx| stream.poll_read(cx, &mut heard)).await.unwrap();
//!     heard
//! });
//! assert_eq!(&heard[..], b"hello\n");
//! // Connecting and asking took a round trip each; nobody has waited for the hour.
//! assert_eq!(net.elapsed(), Duration::from_millis(3_600_040));
//! ```
//!
//! # Time
//!
//! The clock moves only when no task can run, and then to the next instant at which something
//! happens: a timer is due, a name is looked up, a connection is made, bytes arrive for somebody
//! who waits for them. What is due at one instant happens before anything later, in the order in
//! which it was arranged, and all of it before any task runs. Tasks run in the order in which they
//! became ready, the main future of [`MockNet::run`] among them.
//!
//! When nothing can run and nothing is due, nothing will ever happen: `run` panics at once, with a
//! report of who waits for what. Threads beside the world are not waited for. A run that goes on for
//! ever panics likewise, at the bounds of [`MockNet::max_time`] and [`MockNet::max_steps`].
//!
//! Whatever of a world has to wait is to be polled in its [`run`](MockNet::run). In `block_on` of a real
//! event loop, or in another world's run, it panics at once; another crate's executor is not noticed.
//!
//! When the main future ends, `run` returns although tasks remain; they go on in the next `run`.
//!
//! # What keeps what alive
//!
//! The world ends when the last [`MockNet`] goes: its tasks and servers are dropped then. Streams,
//! timers and [`ServerStream`]s are not such handles, but a task or a server which has captured a
//! `MockNet` keeps its own world alive for ever, unless [`MockNet::clear`] is called. A server
//! needs none: [`ServerStream::sleep`] is there for it.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connection;
mod event_queue;
mod expect;
mod frames;
mod hosts;
mod link;
mod listen;
mod log;
mod net;
mod pipe;
mod play;
mod record;
mod record_layer;
mod recording;
mod redact;
mod replay;
mod report;
mod rng;
mod script;
mod seed;
mod server;
mod stream;
mod sweep;
mod tape;
mod text;
mod tls;
mod tls_stream;
mod wait;
mod world;

pub use hosts::DnsEntry;
pub use link::{Chunks, Link, Path};
pub use listen::ServerHandle;
pub use net::MockNet;
pub use record::Recorder;
pub use recording::BadRecording;
pub use replay::Replay;
pub use report::LiveCounts;
pub use script::Script;
pub use seed::seeds;
pub use server::ServerStream;
pub use sweep::{Scenario, Sweep, SweepReport, sweep_instants, sweep_polls, sweep_steps};
pub use tls::{MockTls, MockTlsError, TlsServer};
pub use wait::Sleep;
