//! The facade on our event loop.

#![forbid(unsafe_code)]

use std::{
    future::{poll_fn, ready},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use httpcore::{
    Body, ConnectionPool, EventLoop, Request, backend::BoxFuture, config::PoolConfig,
    extensions::ConnectionPolicy, net::Resolve, proxy::Proxy, tls::RustlsConnector,
};
use httpcore_benches::{CHUNK_BYTES, Failure, Latencies, Meter, Outcome, Task, Workload, run};

static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

fn main() {
    run(|task| {
        let addresses = task.addresses.clone();
        let epoll = match task.workload {
            Workload::HappyEyeballs => EventLoop::builder()
                .resolver(Arc::new(Known(addresses)))
                .build()?,
            _ => EventLoop::new()?,
        };
        let pool = pool(task, &epoll)?;
        let outcome = epoll.block_on(work(&epoll, &pool, task));
        if task.workload == Workload::Idle {
            // Not dropped: what it holds is counted when the process ends.
            std::mem::forget((pool, epoll));
        }
        outcome
    })
}

/// Resolves every name to the given addresses.
#[derive(Debug)]
struct Known(Vec<SocketAddr>);

impl Resolve for Known {
    fn resolve(&self, _: &str, _: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(ready(Ok(self.0.clone())))
    }
}

fn pool(task: &Task, epoll: &EventLoop) -> Result<ConnectionPool, Failure> {
    let mut config = PoolConfig::default();
    config.max_connections = Some(usize::try_from(task.in_flight)? + 1); // one for the concurrent download
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
    if let Some(proxy) = &task.proxy {
        let proxy: Proxy = proxy.parse()?;
        builder = builder.proxy(proxy.with_tunnel_for_http(true));
    }
    Ok(builder.build(epoll.backend()))
}

async fn work(epoll: &EventLoop, pool: &ConnectionPool, task: &Task) -> Result<Outcome, Failure> {
    match task.workload {
        Workload::Get | Workload::Upload => {
            together(epoll, pool, &task.warm_up(), task.in_flight).await?;
            together(epoll, pool, task, task.requests).await
        }
        Workload::Connect => {
            if task.resume {
                ask(pool, request(task, &task.url.parse()?)).await?;
            }
            together(epoll, pool, task, task.requests).await
        }
        Workload::Idle => hold(pool, task).await,
        Workload::ConcurrentDownload => concurrent_download(epoll, pool, task).await,
        Workload::HappyEyeballs => together(epoll, pool, task, 1).await,
    }
}

/// Makes `requests` requests on one task for each request in flight.
async fn together(
    epoll: &EventLoop,
    pool: &ConnectionPool,
    task: &Task,
    requests: u64,
) -> Result<Outcome, Failure> {
    let url: http::Uri = task.url.parse()?;
    let meter = Meter::start();
    let workers: Vec<_> = task
        .shares(requests)
        .map(|share| epoll.spawn(one_by_one(pool.clone(), task.clone(), url.clone(), share)))
        .collect();
    let (mut bytes, mut latencies) = (0, Latencies::of(task));
    for worker in workers {
        let (more, times) = worker.await?;
        bytes += more;
        latencies.add(times);
    }
    Ok(meter.stop(requests, bytes, &mut latencies))
}

async fn one_by_one(
    pool: ConnectionPool,
    task: Task,
    url: http::Uri,
    requests: u64,
) -> Result<(u64, Latencies), Failure> {
    let (mut bytes, mut latencies) = (0, Latencies::of(&task));
    for _ in 0..requests {
        let begun = latencies.begin();
        // Not split into functions: a request would be moved at each call.
        let mut response = if task.workload == Workload::Upload {
            pool.request(request(&task, &url)).await?
        } else {
            pool.get(url.clone()).await?
        };
        if response.status() != 200 {
            return Err(format!("answered with {}", response.status()).into());
        }
        while let Some(piece) = response.body_mut().chunk().await {
            bytes += piece?.len() as u64;
        }
        latencies.end(begun);
    }
    Ok((bytes, latencies))
}

fn request(task: &Task, url: &http::Uri) -> Request {
    let mut request = Request::default();
    if task.workload == Workload::Upload {
        *request.method_mut() = http::Method::POST;
        let mut left = task.size;
        let pieces = Body::poll_fn(move |_| {
            let piece = left.min(CHUNK_BYTES as u64);
            left -= piece;
            let piece = Bytes::from_static(&ZEROS[..piece as usize]);
            Poll::Ready((!piece.is_empty()).then_some(Ok::<_, Failure>(piece)))
        });
        *request.body_mut() = pieces.with_length(task.size);
    }
    *request.uri_mut() = url.clone();
    request
}

/// Sends one request, reads its response to the end, and returns the length.
async fn ask(pool: &ConnectionPool, request: Request) -> Result<u64, Failure> {
    let mut response = pool.request(request).await?;
    if response.status() != 200 {
        return Err(format!("answered with {}", response.status()).into());
    }
    let mut length = 0;
    while let Some(piece) = response.body_mut().chunk().await {
        length += piece?.len() as u64;
    }
    Ok(length)
}

async fn hold(pool: &ConnectionPool, task: &Task) -> Result<Outcome, Failure> {
    let meter = Meter::start();
    // One by one: what a burst of requests leaves behind does not belong to a connection.
    let url: http::Uri = task.url_of("/hello").parse()?;
    for _ in 0..task.in_flight {
        let mut request = request(task, &url);
        let fresh = ConnectionPolicy::default().with_new_connection();
        request.extensions_mut().insert(fresh);
        ask(pool, request).await?;
    }
    turn().await;
    let idle = pool.status().idle_connections as u64;
    if idle != task.in_flight {
        return Err(format!("{idle} connections are idle").into());
    }
    Ok(meter.stop(idle, 0, &mut Latencies::default()))
}

/// Lets ready tasks run several times.
async fn turn() {
    let mut turns = 100;
    poll_fn(|cx| {
        if turns == 0 {
            return Poll::Ready(());
        }
        turns -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn concurrent_download(
    epoll: &EventLoop,
    pool: &ConnectionPool,
    task: &Task,
) -> Result<Outcome, Failure> {
    let large: http::Uri = task.large.as_deref().ok_or("no --large")?.parse()?;
    let url: http::Uri = task.url.parse()?;
    ask(pool, request(task, &url)).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let (its_pool, over) = (pool.clone(), is_over.clone());
    let download = epoll.spawn(async move {
        let mut length = 0;
        while !over.load(Ordering::Relaxed) {
            let mut response = its_pool.get(large.clone()).await?;
            while let Some(piece) = response.body_mut().chunk().await {
                length += piece?.len() as u64;
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
        Ok::<u64, Failure>(length)
    });
    turn().await;
    let meter = Meter::start();
    let (_, mut latencies) = one_by_one(pool.clone(), task.clone(), url, task.requests).await?;
    is_over.store(true, Ordering::Relaxed);
    let bytes = download.await?;
    Ok(meter.stop(task.requests, bytes, &mut latencies))
}
