//! `https` over connections the pool keeps: `https ADDR REQUESTS IN_FLIGHT`, for any server that
//! has something at `/hello.txt`. With `https ADDR 0 IN_FLIGHT` that many connections are made and
//! are idle at the end; with `https ADDR 1 0`, `/256mib` is downloaded.
//!
//! Whoever answers is believed, so that any server's certificate will do: what is counted is what
//! comes after the handshake.

#![forbid(unsafe_code)]

use std::{env, error::Error, sync::Arc};

use httpcore::{Body, ConnectionPool, ConnectionUse, Epoll, tls::RustlsConnector};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [addr, requests, in_flight] = arguments.as_slice() else {
        return Err("usage: https ADDR REQUESTS IN_FLIGHT".into());
    };
    let (requests, in_flight): (u64, u64) = (requests.parse()?, in_flight.parse()?);
    let connector = RustlsConnector::builder()
        .danger_accept_any_certificate()
        .build()?;
    let epoll = Epoll::new()?;
    let pool = ConnectionPool::builder()
        .max_connections(usize::try_from(in_flight)?.max(1))
        .tls(Arc::new(connector))
        .build(epoll.backend());
    let url = |path: &str| format!("https://{addr}{path}").parse::<http::Uri>();
    if in_flight == 0 {
        let length = epoll.block_on(download(&pool, url("/256mib")?))?;
        println!("{length} bytes");
        return Ok(());
    }
    if requests == 0 {
        return epoll.block_on(hold(&pool, url("/hello.txt")?, in_flight));
    }
    let url = url("/hello.txt")?;
    let tasks: Vec<_> = (0..in_flight)
        .map(|worker| {
            let share = requests / in_flight + u64::from(worker < requests % in_flight);
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
        let response = pool.get(url.clone()).await?;
        assert!(!response.into_body().bytes(1 << 10).await?.is_empty());
    }
    Ok(())
}

async fn download(pool: &ConnectionPool, url: http::Uri) -> Result<u64, httpcore::Error> {
    let mut response = pool.get(url).await?;
    let mut length = 0;
    while let Some(piece) = response.body_mut().chunk().await {
        length += piece?.len() as u64;
    }
    Ok(length)
}

/// So many idle connections.
async fn hold(pool: &ConnectionPool, url: http::Uri, count: u64) -> Result<(), Box<dyn Error>> {
    for _ in 0..count {
        let request = http::Request::get(url.clone())
            .extension(ConnectionUse::default().with_fresh())
            .body(Body::empty())?;
        let body = pool.request(request).await?.into_body();
        assert!(!body.bytes(1 << 10).await?.is_empty());
    }
    println!("{} connections are idle", pool.status().idle_connections);
    Ok(())
}
