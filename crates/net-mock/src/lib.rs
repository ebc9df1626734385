//! A network in virtual time, for tests.
//!
//! A [`MockNet`] has its own names, hosts, servers, links, tasks and clock. It runs on one thread and
//! opens no sockets. It implements
//! [`NetworkBackend`](httpcore_core_primitives::NetworkBackend), so that code written for that trait
//! runs in it unchanged.
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
//! let received = net.run(async {
//!     let address = net.resolve("greeting.test", 80).await.unwrap()[0];
//!     let mut stream = net.connect_tcp(address, &TcpOptions::default()).await.unwrap();
//!     poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(b"hi\n")])).await.unwrap();
//!     let mut received = bytes::BytesMut::with_capacity(64);
//!     poll_fn(|cx| stream.poll_read(cx, &mut received)).await.unwrap();
//!     received
//! });
//! assert_eq!(&received[..], b"hello\n");
//! // Connecting and the exchange took one round trip each; the hour passed in virtual time.
//! assert_eq!(net.elapsed(), Duration::from_millis(3_600_040));
//! ```
//!
//! # Time
//!
//! The clock advances only when no task can run, and then to the next scheduled event: a timer
//! expires, a look-up or a connection attempt completes, bytes arrive for a waiting reader. Events of
//! the same instant happen in the order in which they were scheduled, all before any task runs. Tasks
//! run in the order in which they became ready, the main future of [`MockNet::run`] among them.
//!
//! When no task can run and no event is scheduled, `run` panics at once, with a report on what each
//! task waits for. Threads outside the world are not waited for. `run` also panics at the bounds set
//! with [`MockNet::max_time`] and [`MockNet::max_steps`].
//!
//! A future of a world that has to wait must be polled in that world's [`run`](MockNet::run). In
//! `block_on` of a real event loop, or in the `run` of another world, it panics at once; other
//! crates' executors are not detected.
//!
//! When the main future ends, `run` returns even if tasks remain; they continue in the next `run`.
//!
//! # Lifetimes
//!
//! The world ends when the last [`MockNet`] handle is dropped: its tasks and servers are dropped
//! then. Streams, timers and [`ServerStream`]s do not keep the world alive, but a task or a server
//! that has captured a `MockNet` keeps its own world alive for ever, unless [`MockNet::clear`] is
//! called. A server needs no handle for waiting: it has [`ServerStream::sleep`].
//!
//! # Layers of the source
//!
//! Each module uses only modules of the layers above it, or modules before it in the same layer.
//!
//! | layer | modules | content |
//! |---|---|---|
//! | time and randomness | `ends`, `rng`, `event_queue`, `timer_entry`, `sync` | the clock, what is scheduled, seeded choices |
//! | bytes | `link`, `pipe`, `connection` | what a link does to bytes; both directions of a connection. No lock, no task |
//! | text | `text`, `entry`, `record_layer`, `frames`, `transcript` | transcripts of connections, readable |
//! | world | `hosts`, `world`, `report` | names, listeners, tasks and connections of a world, under one lock |
//! | handles | `timer`, `stream`, `tls_error`, `tls_stream`, `tls`, `server` | what tasks and servers hold |
//! | net | `net`, `inspect`, `progress`, `listen` | [`MockNet`]: running, serving, connecting |
//! | scripts | `expect`, `script`, `play` | servers as lists of steps |
//! | recordings | `redact`, `recording`, `capture`, `record`, `replay` | recording real traffic, and replaying it |
//! | runs | `seed`, `sweep` | many runs of one test |

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod capture;
mod connection;
mod ends;
mod entry;
mod event_queue;
mod expect;
mod frames;
mod hosts;
mod inspect;
mod link;
mod listen;
mod net;
mod pipe;
mod play;
mod progress;
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
mod sync;
mod text;
mod timer;
mod timer_entry;
mod tls;
mod tls_error;
mod tls_stream;
mod transcript;
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
pub use timer::Sleep;
pub use tls::{MockTls, TlsServer};
pub use tls_error::MockTlsError;
