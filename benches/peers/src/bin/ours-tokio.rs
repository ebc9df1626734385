//! Our own client on tokio, under the harness of the clients that run there.

#![forbid(unsafe_code)]

use std::sync::Arc;

use httpcore::{ConnectionPool, Request, config::PoolConfig, tls::RustlsConnector};
use httpcore_benches::{Failure, Task, Workload, cannot};
use httpcore_peers::run_on_tokio;

#[derive(Clone)]
struct Pooled(ConnectionPool);

impl httpcore_peers::Client for Pooled {
    type Worker = ConnectionPool;

    fn new(task: &Task) -> Result<Self, Failure> {
        match task.workload {
            Workload::Get | Workload::Connect => {}
            Workload::Upload
            | Workload::Idle
            | Workload::ConcurrentDownload
            | Workload::HappyEyeballs => cannot("measured with the event loop only"),
        }
        let mut config = PoolConfig::default();
        config.max_connections = Some(usize::try_from(task.in_flight)?);
        config.idle_timeout = None;
        config.max_http2_connections_per_origin = None;
        if task.workload == Workload::Connect {
            config.max_idle = Some(0);
        }
        let mut builder = ConnectionPool::builder()
            .configure_pool(|pool| *pool = config)
            .http1(!task.http2)
            .http2(task.http2);
        if let Some(ca) = &task.ca {
            let connector = RustlsConnector::builder()
                .root_pem_file(ca)?
                .session_cache_size(if task.resume { 64 } else { 0 });
            builder = builder.tls(Arc::new(connector.build()?));
        }
        Ok(Pooled(builder.build_tokio()?))
    }

    async fn worker(&self, _: &Task) -> Result<ConnectionPool, Failure> {
        Ok(self.0.clone())
    }

    async fn ask(worker: &mut ConnectionPool, _: &Task, url: &http::Uri) -> Result<u64, Failure> {
        let mut request = Request::default();
        *request.uri_mut() = url.clone();
        let mut response = worker.request(request).await?;
        if response.status() != 200 {
            return Err(format!("answered with {}", response.status()).into());
        }
        let mut length = 0;
        while let Some(piece) = response.body_mut().chunk().await {
            length += piece?.len() as u64;
        }
        Ok(length)
    }
}

fn main() {
    run_on_tokio::<Pooled>()
}
