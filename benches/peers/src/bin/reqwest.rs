//! reqwest with rustls.

#![forbid(unsafe_code)]

use httpcore_benches::{Failure, Task, Workload};
use httpcore_peers::{Client, Zeros, run_on_tokio, tls};

#[derive(Clone)]
struct Reqwest(reqwest::Client, reqwest::Url);

impl Client for Reqwest {
    type Worker = Self;

    fn new(task: &Task) -> Result<Self, Failure> {
        let mut config = tls(task)?;
        let protocol = if task.http2 { "h2" } else { "http/1.1" };
        config.alpn_protocols = vec![protocol.into()];
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .resolve_to_addrs("two.test", &task.addresses)
            .tls_backend_preconfigured(config);
        builder = if task.http2 {
            builder.http2_prior_knowledge()
        } else {
            builder.http1_only()
        };
        if task.workload == Workload::Connect {
            builder = builder.pool_max_idle_per_host(0);
        }
        Ok(Reqwest(builder.build()?, task.url.parse()?))
    }

    async fn worker(&self, _: &Task) -> Result<Self, Failure> {
        Ok(self.clone())
    }

    async fn ask(worker: &mut Self, task: &Task, url: &http::Uri) -> Result<u64, Failure> {
        let Reqwest(client, known) = worker;
        let request = if task.workload == Workload::Upload {
            client
                .post(known.clone())
                .body(reqwest::Body::wrap(Zeros::of(task)))
        } else if url.path() != known.path() {
            client.get(url.to_string())
        } else {
            client.get(known.clone())
        };
        let mut response = request.send().await?.error_for_status()?;
        let mut length = 0;
        while let Some(piece) = response.chunk().await? {
            length += piece.len() as u64;
        }
        Ok(length)
    }
}

fn main() {
    run_on_tokio::<Reqwest>()
}
