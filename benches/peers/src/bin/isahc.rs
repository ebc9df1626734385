//! isahc: libcurl on a thread of its own, linked statically, with rustls.

#![forbid(unsafe_code)]

use futures_lite::AsyncReadExt as _;
use httpcore_benches::{Failure, Task, Workload, cannot};
use httpcore_peers::{Client, run_on_tokio};
use isahc::{
    AsyncBody, HttpClient,
    config::{Configurable as _, VersionNegotiation},
    tls::{TlsConfig, TrustStore},
};

#[derive(Clone)]
struct Isahc(HttpClient);

/// A client and its read buffer.
struct Worker(HttpClient, Box<[u8]>);

impl Client for Isahc {
    type Worker = Worker;

    fn new(task: &Task) -> Result<Self, Failure> {
        if task.workload == Workload::HappyEyeballs {
            cannot("a name with two addresses"); // it passes only one to libcurl
        }
        let version = match (task.http2, task.is_https()) {
            (false, _) => VersionNegotiation::http11(),
            (true, false) => VersionNegotiation::http2(),
            (true, true) => VersionNegotiation::latest_compatible(),
        };
        let in_flight = usize::try_from(task.in_flight)?;
        let mut builder = HttpClient::builder()
            .version_negotiation(version)
            .tcp_nodelay()
            .connection_cache_size(in_flight + 1);
        if task.workload == Workload::Connect {
            builder = builder.default_header("connection", "close");
        }
        if let Some(ca) = &task.ca {
            let tls = TlsConfig::builder().trust_store(TrustStore::from_file(ca));
            builder = builder.tls_config(tls.build());
        }
        Ok(Isahc(builder.build()?))
    }

    async fn worker(&self, _: &Task) -> Result<Worker, Failure> {
        let buffer = vec![0; httpcore_benches::CHUNK_BYTES].into();
        Ok(Worker(self.0.clone(), buffer))
    }

    async fn ask(worker: &mut Worker, task: &Task, url: &http::Uri) -> Result<u64, Failure> {
        let Worker(client, buffer) = worker;
        let mut response = if task.workload == Workload::Upload {
            let zeros = futures_lite::io::repeat(0).take(task.size);
            let body = AsyncBody::from_reader_sized(zeros, task.size);
            client.post_async(url, body).await?
        } else {
            client.get_async(url).await?
        };
        if response.status() != 200 {
            return Err(format!("answered with {}", response.status()).into());
        }
        let mut length = 0;
        loop {
            match response.body_mut().read(buffer).await? {
                0 => return Ok(length),
                size => length += size as u64,
            }
        }
    }
}

fn main() {
    run_on_tokio::<Isahc>()
}
