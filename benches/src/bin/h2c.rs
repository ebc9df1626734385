//! HTTP/2 by prior knowledge: `h2c ADDR REQUESTS STREAMS`, for any server that answers `/` with 200.
//! With `h2c ADDR 0 COUNT`, so many connections are made, and are idle at the end. An ADDR that begins
//! with `https://` is asked over TLS, and whoever answers is believed.

#![forbid(unsafe_code)]

use std::{env, error::Error, sync::Arc};

use httpcore::{Body, ConnectionPool, ConnectionUse, Epoll, PoolConfig, tls::RustlsConnector};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [addr, requests, streams] = arguments.as_slice() else {
        return Err("usage: h2c ADDR REQUESTS STREAMS".into());
    };
    let (requests, streams): (u64, u64) = (requests.parse()?, streams.parse()?);
    let mut config = PoolConfig::default();
    config.max_connections = None;
    config.max_shared_per_origin = (requests > 0).then_some(1);
    config.idle_timeout = None;
    let epoll = Epoll::new()?;
    let pool = ConnectionPool::builder()
        .http1(false)
        .http2(true)
        .pool_config(config)
        .tls(Arc::new(
            RustlsConnector::builder()
                .danger_accept_any_certificate()
                .build()?,
        ))
        .build(epoll.backend());
    let scheme = if addr.contains("://") { "" } else { "http://" };
    let url: http::Uri = format!("{scheme}{addr}/").parse()?;
    if requests == 0 {
        return epoll.block_on(hold(&pool, &url, streams));
    }
    // The server's SETTINGS say how many streams there may be.
    epoll.block_on(work(pool.clone(), url.clone(), 1))?;
    let tasks: Vec<_> = (0..streams)
        .map(|worker| {
            let share = requests / streams + u64::from(worker < requests % streams);
            epoll.spawn(work(pool.clone(), url.clone(), share))
        })
        .collect();
    epoll.block_on(async {
        for task in tasks {
            task.await?;
        }
        Ok(())
    })
}

async fn work(pool: ConnectionPool, url: http::Uri, requests: u64) -> Result<(), httpcore::Error> {
    for _ in 0..requests {
        let mut response = pool.get(url.clone()).await?;
        while let Some(piece) = response.body_mut().chunk().await {
            piece?;
        }
    }
    Ok(())
}

/// So many idle connections.
async fn hold(pool: &ConnectionPool, url: &http::Uri, count: u64) -> Result<(), Box<dyn Error>> {
    let mut responses = Vec::new();
    for _ in 0..count {
        let request = http::Request::get(url.clone())
            .extension(ConnectionUse::default().with_fresh())
            .body(Body::empty())?;
        responses.push(pool.request(request).await?);
    }
    drop(responses);
    println!("{} connections are idle", pool.status().idle_connections);
    Ok(())
}
