//! The gateway over sockets, with a server of hyper behind it.

use std::{convert::Infallible, time::Duration};

use http_body_util::{BodyExt, Full};
use httpcore::{
    Bytes, ConnectionPool, Timeouts,
    http::{Request, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// Starts an upstream server; returns its URL.
async fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer));
            tokio::spawn(connection);
        }
    });
    url
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let has = |name: &str| parts.headers.contains_key(name);
    let builder = Response::builder()
        .header(
            "x-has",
            format!(
                "hop: {}, end: {}, via: {}",
                has("x-hop"),
                has("x-end"),
                has("via")
            ),
        )
        .header("x-host", parts.headers["host"].clone())
        .header("keep-alive", "timeout=5");
    Ok(match parts.uri.path() {
        "/echo" => builder
            .body(Full::new(body.collect().await.unwrap().to_bytes()))
            .unwrap(),
        "/stalls" => std::future::pending().await,
        _ => builder.status(404).body(Full::default()).unwrap(),
    })
}

struct Running {
    url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<usize>>,
}

/// Starts a gateway, with a limit on the time until the head of an upstream response.
async fn gateway(upstream: String, head: Option<Duration>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let pool = ConnectionPool::builder()
        .timeouts(head.map_or_else(Timeouts::default, |head| {
            Timeouts::default().with_response_head(head)
        }))
        .build_tokio()
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        gateway::serve(listener, pool, &upstream, stopped, Duration::from_secs(5)).await
    });
    Running { url, stop, server }
}

#[tokio::test]
async fn bodies_pass_and_fields_of_one_connection_do_not() {
    let upstream = upstream().await;
    let gateway = gateway(upstream.clone(), None).await;
    let client = ConnectionPool::builder().build_tokio().unwrap();
    let data = "x".repeat(1 << 20);
    let request = Request::post(format!("{}/echo?a=1", gateway.url))
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-end", "1")
        .body(data.clone())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["x-has"],
        "hop: false, end: true, via: true"
    );
    assert_eq!(
        format!("http://{}", response.headers()["x-host"].to_str().unwrap()),
        upstream
    );
    assert!(!response.headers().contains_key("keep-alive"));
    assert!(response.headers().contains_key("x-request-id"));
    assert!(response.into_body().text(2 << 20).await.unwrap() == data);
    gateway.stop.send(()).unwrap();
    assert_eq!(gateway.server.await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn failures_upstream_have_a_status_each() {
    let client = ConnectionPool::builder().build_tokio().unwrap();
    let served = gateway(upstream().await, None).await;
    let stalled = gateway(upstream().await, Some(Duration::from_millis(100))).await;
    let status = async |url: String| client.get(url).await.unwrap().status().as_u16();
    assert_eq!(status(format!("{}/gone", served.url)).await, 404);
    assert_eq!(status(format!("{}/stalls", stalled.url)).await, 504);
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = gateway(format!("http://{nowhere}"), None).await;
    assert_eq!(status(refused.url.clone()).await, 502);
    for running in [served, stalled, refused] {
        running.stop.send(()).unwrap();
        running.server.await.unwrap().unwrap();
    }
}
