//! hyper with hyper-util's pool (the "legacy" client).

#![forbid(unsafe_code)]

use httpcore_benches::{Failure, Task, Work};
use httpcore_peers::{Zeros, read, run_on_tokio, tls};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

#[derive(Clone)]
enum Pooled {
    Plain(Client<HttpConnector, Zeros>),
    Secure(Client<HttpsConnector<HttpConnector>, Zeros>),
}

impl httpcore_peers::Client for Pooled {
    type Worker = Self;

    fn new(task: &Task) -> Result<Self, Failure> {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(!task.is_https());
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).http2_only(task.http2);
        if task.work == Work::Connect {
            builder.pool_max_idle_per_host(0);
        }
        if !task.is_https() {
            return Ok(Pooled::Plain(builder.build(http)));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(task)?)
            .https_only();
        let connector = if task.http2 {
            connector.enable_http2().wrap_connector(http)
        } else {
            connector.enable_http1().wrap_connector(http)
        };
        Ok(Pooled::Secure(builder.build(connector)))
    }

    async fn worker(&self, _: &Task) -> Result<Self, Failure> {
        Ok(self.clone())
    }

    async fn ask(worker: &mut Self, task: &Task, url: &http::Uri) -> Result<u64, Failure> {
        let mut request = http::Request::new(Zeros::of(task));
        *request.uri_mut() = url.clone();
        if task.work == Work::Upload {
            *request.method_mut() = http::Method::POST;
        }
        let response = match worker {
            Pooled::Plain(client) => client.request(request).await?,
            Pooled::Secure(client) => client.request(request).await?,
        };
        read(response).await
    }
}

fn main() {
    run_on_tokio::<Pooled>()
}
