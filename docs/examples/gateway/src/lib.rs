//! A gateway: passes requests to one upstream server, and its responses back.
//!
//! ```text
//!   client ─► hyper ─► tower: concurrency limit, fields ─► Gateway ─► pool ─► upstream server
//! ```
//!
//! Bodies stream in both directions and are never held in memory. At its end, connections that are in use may
//! end within a time, and then the pool is drained.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use httpcore::{
    Body, ConnectionPool, Error, ErrorKind,
    http::{self, HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

/// Fields that are for one connection only (RFC 9110 §7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Serves on `listener` until `stop` is ready, and then lets what runs end within `grace`. Returns the
/// number of upstream requests that did not.
pub async fn serve(
    listener: TcpListener,
    pool: ConnectionPool,
    upstream: &str,
    stop: impl Future,
    grace: Duration,
) -> io::Result<usize> {
    let service = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .concurrency_limit(1000)
        .service(Gateway {
            pool: pool.clone(),
            upstream: upstream.trim_end_matches('/').into(),
        });
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let socket = tokio::select! {
            _ = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => {
                    // Out of descriptors, as a rule: others will be closed.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(service.clone());
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(socket), service);
        tokio::spawn(connections.watch(connection));
    }
    drop(listener);
    let _ = tokio::time::timeout(grace, connections.shutdown()).await;
    Ok(pool.drain(Duration::from_secs(1)).await.aborted)
}

/// The service behind the layers.
#[derive(Clone, Debug)]
pub struct Gateway {
    pool: ConnectionPool,
    upstream: Arc<str>,
}

impl Service<Request<hyper::body::Incoming>> for Gateway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.forward(request.map(Body::wrap)).await) })
    }
}

impl Gateway {
    async fn forward(&self, mut request: Request<Body>) -> Response<Body> {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let Ok(url) = format!("{}{path}", self.upstream).parse::<Uri>() else {
            return answer(StatusCode::BAD_REQUEST);
        };
        *request.uri_mut() = url;
        remove_hop_by_hop(request.headers_mut());
        request.headers_mut().remove(header::HOST); // the pool adds the upstream server's
        request
            .headers_mut()
            .append(header::VIA, HeaderValue::from_static("1.1 gateway"));
        match self.pool.request(request).await {
            Ok(mut response) => {
                remove_hop_by_hop(response.headers_mut());
                response
            }
            Err(error) => {
                eprintln!("{error:#}");
                answer(status_of(&error))
            }
        }
    }
}

fn answer(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn status_of(error: &Error) -> StatusCode {
    match error.kind() {
        ErrorKind::InvalidUrl | ErrorKind::InvalidRequest => StatusCode::BAD_REQUEST,
        ErrorKind::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::QueueFull | ErrorKind::PoolClosed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn remove_hop_by_hop(fields: &mut HeaderMap) {
    let values = fields.get_all(header::CONNECTION).iter();
    let named: Vec<_> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse::<http::HeaderName>().ok())
        .collect();
    for name in named.into_iter().chain(HOP_BY_HOP) {
        fields.remove(name);
    }
}
