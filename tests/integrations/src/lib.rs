//! What the tests of other projects' clients share: a pool on each backend, and a server that answers by
//! a function.

pub mod moto;

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use http_body::Body;
use httpcore::{ConnectionPoolBuilder, EventLoop};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, runtime, sync::oneshot};

/// Runs a client on tokio with two workers, with a pool of that runtime.
pub fn on_tokio<F: Future<Output = ()>>(
    builder: ConnectionPoolBuilder,
    client: impl FnOnce(httpcore::ConnectionPool) -> F,
) {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let pool = builder.build_tokio().expect("inside of a runtime");
        client(pool).await;
    });
}

/// Runs a client on httpcore's own event loop, without any runtime.
pub fn on_own_loop<F: Future<Output = ()>>(
    builder: ConnectionPoolBuilder,
    client: impl FnOnce(httpcore::ConnectionPool) -> F,
) {
    let event_loop = EventLoop::new().expect("an event loop");
    let pool = builder.build(event_loop.backend());
    event_loop.block_on(client(pool));
}

/// A server on a runtime of its own thread, which ends when this is dropped.
pub struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The versions of HTTP that a server speaks. Without TLS a client has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
}

impl Server {
    /// Answers each request with `answer`, which is given the number of the request, from 0.
    pub fn start<F, B>(
        version: Version,
        answer: impl Fn(usize, http::Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Server
    where
        F: Future<Output = http::Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let requests = Arc::new(AtomicUsize::new(0));
        let connections = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let (bound, address) = std::sync::mpsc::channel();
        let counts = (requests.clone(), connections.clone());
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let serve = async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                bound.send(listener.local_addr()?).expect("the test waits");
                let (requests, connections) = counts;
                loop {
                    let (stream, _) = listener.accept().await?;
                    connections.fetch_add(1, SeqCst);
                    let (answer, requests) = (answer.clone(), requests.clone());
                    let service = service_fn(move |request| {
                        let answer = answer(requests.fetch_add(1, SeqCst), request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    tokio::spawn(async move {
                        let io = TokioIo::new(stream);
                        // A client that ends its connection is no failure of the server.
                        let _ = match version {
                            Version::Http1 => {
                                hyper::server::conn::http1::Builder::new()
                                    .serve_connection(io, service)
                                    .await
                            }
                            Version::Http2 => {
                                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                                    .serve_connection(io, service)
                                    .await
                            }
                        };
                    });
                }
            };
            let served: io::Result<Infallible> = runtime.block_on(async {
                tokio::select! {
                    failed = serve => failed,
                    _ = stopped => Err(io::ErrorKind::Interrupted.into()),
                }
            });
            let Err(error) = served;
            assert_eq!(
                error.kind(),
                io::ErrorKind::Interrupted,
                "the server failed: {error}"
            );
        });
        Server {
            address: address.recv().expect("an address"),
            requests,
            connections,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Returns `http://ADDRESS` and `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns how many requests there were.
    pub fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// Returns how many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server panicked");
        }
    }
}

/// The examples of the guides on other projects' clients.
#[cfg(all(doctest, feature = "tonic"))]
#[doc = include_str!("../../../docs/guides/src/grpc.md")]
mod grpc {}
#[cfg(all(doctest, feature = "object-store"))]
#[doc = include_str!("../../../docs/guides/src/object-storage.md")]
mod object_storage {}
