//! The blocking facade: each thread sends, and waits in its socket.

#![forbid(unsafe_code)]

use std::{sync::Arc, thread};

use httpcore::{
    ConnectionPool,
    blocking::{self, Response},
    config::PoolConfig,
    tls::RustlsConnector,
};
use httpcore_benches::{Failure, Latencies, Meter, Outcome, Task, Workload, cannot, run};

fn main() {
    run(|task| {
        if task.http2 {
            cannot("HTTP/2 on this facade");
        }
        let pool = pool(task)?;
        match task.workload {
            Workload::Get => {
                together(&pool, &task.warm_up(), task.in_flight)?;
                together(&pool, task, task.requests)
            }
            Workload::Connect => {
                if task.resume {
                    read(pool.get(task.url.as_str())?)?;
                }
                together(&pool, task, task.requests)
            }
            Workload::Idle => {
                let outcome = together(&pool, task, task.in_flight);
                // Not dropped: what it holds is counted when the process ends.
                std::mem::forget(pool);
                outcome
            }
            Workload::Upload | Workload::ConcurrentDownload | Workload::HappyEyeballs => {
                cannot("workloads that the async facade covers")
            }
        }
    })
}

fn pool(task: &Task) -> Result<blocking::ConnectionPool, Failure> {
    let mut config = PoolConfig::default();
    config.max_connections = Some(usize::try_from(task.in_flight)?);
    if task.workload == Workload::Connect {
        config.max_idle = Some(0);
    }
    let mut builder = ConnectionPool::builder().configure_pool(|pool| *pool = config);
    if let Some(ca) = &task.ca {
        let connector = RustlsConnector::builder()
            .root_pem_file(ca)?
            .session_cache_size(if task.resume { 64 } else { 0 });
        builder = builder.tls(Arc::new(connector.build()?));
    }
    Ok(builder.build_blocking()?)
}

/// Makes `requests` requests on one thread for each request in flight.
fn together(
    pool: &blocking::ConnectionPool,
    task: &Task,
    requests: u64,
) -> Result<Outcome, Failure> {
    let url: http::Uri = task.url.parse()?;
    let meter = Meter::start();
    if task.in_flight == 1 {
        let (bytes, mut latencies) = one_by_one(pool, task, &url, requests)?;
        return Ok(meter.stop(requests, bytes, &mut latencies));
    }
    thread::scope(|scope| {
        let url = &url;
        let workers: Vec<_> = task
            .shares(requests)
            .map(|share| {
                thread::Builder::new()
                    .stack_size(128 << 10)
                    .spawn_scoped(scope, move || one_by_one(pool, task, url, share))
            })
            .collect();
        let (mut bytes, mut latencies) = (0, Latencies::of(task));
        for worker in workers {
            let (more, times) = worker?.join().map_err(|_| "a thread panicked")??;
            bytes += more;
            latencies.add(times);
        }
        Ok(meter.stop(requests, bytes, &mut latencies))
    })
}

fn one_by_one(
    pool: &blocking::ConnectionPool,
    task: &Task,
    url: &http::Uri,
    requests: u64,
) -> Result<(u64, Latencies), Failure> {
    let (mut bytes, mut latencies) = (0, Latencies::of(task));
    for _ in 0..requests {
        let begun = latencies.begin();
        bytes += read(pool.get(url.clone())?)?;
        latencies.end(begun);
    }
    Ok((bytes, latencies))
}

fn read(mut response: Response) -> Result<u64, Failure> {
    if response.status() != 200 {
        return Err(format!("answered with {}", response.status()).into());
    }
    let mut length = 0;
    while let Some(piece) = response.body_mut().chunk() {
        length += piece?.len() as u64;
    }
    Ok(length)
}
