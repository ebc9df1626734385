//! hyper without a pool: one connection for each request in flight, or one for all over HTTP/2.

#![forbid(unsafe_code)]

use std::sync::Arc;

use httpcore_benches::{Failure, Task, Workload, cannot};
use httpcore_peers::{Client, Zeros, read, run_on_tokio, tls};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Mutex, task::spawn};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

#[derive(Clone)]
struct Bare {
    tls: Option<TlsConnector>,
    shared: Arc<Mutex<Option<http2::SendRequest<Zeros>>>>,
}

struct Worker {
    client: Bare,
    sender: Option<Sender>,
}

enum Sender {
    One(http1::SendRequest<Zeros>),
    Two(http2::SendRequest<Zeros>),
}

impl Bare {
    async fn connect(&self, task: &Task) -> Result<Sender, Failure> {
        let (host, _) = task.host_and_path();
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return handshake(stream, task.http2).await;
        };
        let (name, _) = host.rsplit_once(':').unwrap_or((host, ""));
        let name = ServerName::try_from(name.to_owned())?;
        handshake(tls.connect(name, stream).await?, task.http2).await
    }
}

async fn handshake<S>(stream: S, is_http2: bool) -> Result<Sender, Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    if is_http2 {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        spawn(connection);
        return Ok(Sender::Two(sender));
    }
    let (sender, connection) = http1::handshake(io).await?;
    spawn(connection);
    Ok(Sender::One(sender))
}

impl Client for Bare {
    type Worker = Worker;

    const OWNS_CONNECTIONS: bool = true;

    fn new(task: &Task) -> Result<Self, Failure> {
        if task.workload == Workload::HappyEyeballs {
            cannot("names: hyper is given a connection");
        }
        let make = || {
            let mut config = tls(task)?;
            let protocol = if task.http2 { "h2" } else { "http/1.1" };
            config.alpn_protocols = vec![protocol.into()];
            Ok::<_, Failure>(TlsConnector::from(Arc::new(config)))
        };
        Ok(Bare {
            tls: task.is_https().then(make).transpose()?,
            shared: Arc::default(),
        })
    }

    async fn worker(&self, task: &Task) -> Result<Worker, Failure> {
        let mut worker = Worker {
            client: self.clone(),
            sender: None,
        };
        if task.workload == Workload::Connect {
            return Ok(worker);
        }
        let is_shared = task.http2 && task.workload != Workload::Idle;
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|_| is_shared) {
            worker.sender = Some(Sender::Two(sender.clone()));
            return Ok(worker);
        }
        let sender = self.connect(task).await?;
        if let Sender::Two(sender) = &sender {
            *shared = Some(sender.clone());
        }
        worker.sender = Some(sender);
        Ok(worker)
    }

    async fn ask(worker: &mut Worker, task: &Task, url: &http::Uri) -> Result<u64, Failure> {
        if task.workload == Workload::Connect {
            worker.sender = Some(worker.client.connect(task).await?);
        }
        let mut request = http::Request::new(Zeros::of(task));
        if task.workload == Workload::Upload {
            *request.method_mut() = http::Method::POST;
        }
        match worker.sender.as_mut().ok_or("not connected")? {
            Sender::One(sender) => {
                let (authority, path) = (url.authority(), url.path_and_query());
                let authority = authority.ok_or("no authority")?.as_str();
                *request.uri_mut() = path.ok_or("no path")?.clone().into();
                let host = http::HeaderValue::from_str(authority)?;
                request.headers_mut().insert(http::header::HOST, host);
                sender.ready().await?;
                read(sender.send_request(request).await?).await
            }
            Sender::Two(sender) => {
                *request.uri_mut() = url.clone();
                sender.ready().await?;
                read(sender.send_request(request).await?).await
            }
        }
    }
}

fn main() {
    run_on_tokio::<Bare>()
}
