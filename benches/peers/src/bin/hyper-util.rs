//! hyper with hyper-util's pool (the "legacy" client).

#![forbid(unsafe_code)]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
    vec,
};

use httpcore_benches::{Failure, Task, Workload};
use httpcore_peers::{Zeros, read, run_on_tokio, tls};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use tower_service::Service;

#[derive(Clone)]
enum Pooled {
    Plain(Client<HttpConnector, Zeros>),
    Secure(Client<HttpsConnector<HttpConnector>, Zeros>),
    Named(Client<HttpConnector<Known>, Zeros>),
}

/// Resolves every name to the given addresses.
#[derive(Clone)]
struct Known(Vec<SocketAddr>);

impl Service<Name> for Known {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}

impl httpcore_peers::Client for Pooled {
    type Worker = Self;

    fn new(task: &Task) -> Result<Self, Failure> {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(!task.is_https());
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).http2_only(task.http2);
        if task.workload == Workload::Connect {
            builder.pool_max_idle_per_host(0);
        }
        if task.workload == Workload::HappyEyeballs {
            let mut http = HttpConnector::new_with_resolver(Known(task.addresses.clone()));
            http.set_nodelay(true);
            return Ok(Pooled::Named(builder.build(http)));
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
        if task.workload == Workload::Upload {
            *request.method_mut() = http::Method::POST;
        }
        let response = match worker {
            Pooled::Plain(client) => client.request(request).await?,
            Pooled::Secure(client) => client.request(request).await?,
            Pooled::Named(client) => client.request(request).await?,
        };
        read(response).await
    }
}

fn main() {
    run_on_tokio::<Pooled>()
}
