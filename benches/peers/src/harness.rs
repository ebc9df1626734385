//! The workloads, for clients on tokio: on one thread, or on `--workers`.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use httpcore_benches::{Failure, Latencies, Meter, Outcome, Task, Workload, run};
use tokio::task::{spawn, yield_now};

/// A client.
pub trait Client: Clone + Send + Sync + Sized + 'static {
    /// The state of sequential requests: a connection, or a handle to the pool.
    type Worker: Send;

    /// Whether each worker has its own connection, so that idle ones can be opened one by one. A pool needs
    /// all requests at once.
    const OWNS_CONNECTIONS: bool = false;

    /// Creates the client, on the runtime.
    fn new(task: &Task) -> Result<Self, Failure>;

    /// Creates one worker for each request in flight.
    fn worker(&self, task: &Task) -> impl Future<Output = Result<Self::Worker, Failure>> + Send;

    /// Sends one request, reads its response to the end, and returns the length.
    fn ask(
        worker: &mut Self::Worker,
        task: &Task,
        url: &http::Uri,
    ) -> impl Future<Output = Result<u64, Failure>> + Send;
}

/// Runs the program of a client.
pub fn run_on_tokio<C: Client>() -> ! {
    run(|task| {
        let mut builder = match task.workers {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder
            .worker_threads(task.workers.max(1))
            .enable_all()
            .build()?;
        let outcome = runtime.block_on(work::<C>(task));
        if task.workload == Workload::Idle {
            // Not dropped: what it holds is counted when the process ends.
            std::mem::forget(runtime);
        }
        outcome
    })
}

async fn work<C: Client>(task: &Task) -> Result<Outcome, Failure> {
    let client = C::new(task)?;
    let url: http::Uri = task.url.parse()?;
    if task.workload == Workload::ConcurrentDownload {
        return concurrent_download(&client, task, url).await;
    }
    let mut workers = Vec::new();
    for _ in 0..task.in_flight {
        workers.push(client.worker(task).await?);
    }
    match task.workload {
        Workload::Get | Workload::Upload => {
            let warm_up: http::Uri = task.warm_up().url.parse()?;
            let (_, workers) = together::<C>(workers, task, &warm_up, task.in_flight).await?;
            Ok(together::<C>(workers, task, &url, task.requests).await?.0)
        }
        Workload::Connect => {
            if task.resume {
                C::ask(&mut workers[0], task, &url).await?;
            }
            Ok(together::<C>(workers, task, &url, task.requests).await?.0)
        }
        Workload::HappyEyeballs => Ok(together::<C>(workers, task, &url, 1).await?.0),
        Workload::Idle => {
            let (outcome, workers) = if C::OWNS_CONNECTIONS {
                one_by_one::<C>(workers, task).await?
            } else {
                together::<C>(workers, task, &url, task.in_flight).await?
            };
            for _ in 0..100 {
                yield_now().await;
            }
            std::mem::forget((client, workers));
            Ok(outcome)
        }
        Workload::ConcurrentDownload => unreachable!("handled above"),
    }
}

/// Makes one request on each worker, one after the other.
async fn one_by_one<C: Client>(
    mut workers: Vec<C::Worker>,
    task: &Task,
) -> Result<(Outcome, Vec<C::Worker>), Failure> {
    let meter = Meter::start();
    let url: http::Uri = task.url_of("/hello").parse()?;
    for worker in &mut workers {
        C::ask(worker, task, &url).await?;
    }
    let outcome = meter.stop(task.in_flight, 0, &mut Latencies::default());
    Ok((outcome, workers))
}

/// Makes `requests` requests, shared among the workers.
async fn together<C: Client>(
    workers: Vec<C::Worker>,
    task: &Task,
    url: &http::Uri,
    requests: u64,
) -> Result<(Outcome, Vec<C::Worker>), Failure>
where
    C::Worker: 'static,
{
    let meter = Meter::start();
    let tasks: Vec<_> = task
        .shares(requests)
        .zip(workers)
        .map(|(share, mut worker)| {
            let (task, url) = (task.clone(), url.clone());
            spawn(async move {
                let (mut bytes, mut latencies) = (0, Latencies::of(&task));
                for _ in 0..share {
                    let begun = latencies.begin();
                    bytes += C::ask(&mut worker, &task, &url).await?;
                    latencies.end(begun);
                }
                Ok::<_, Failure>((bytes, latencies, worker))
            })
        })
        .collect();
    let (mut bytes, mut latencies, mut workers) = (0, Latencies::of(task), Vec::new());
    for spawned in tasks {
        let (more, times, worker) = spawned.await??;
        bytes += more;
        latencies.add(times);
        workers.push(worker);
    }
    Ok((meter.stop(requests, bytes, &mut latencies), workers))
}

async fn concurrent_download<C: Client>(
    client: &C,
    task: &Task,
    url: http::Uri,
) -> Result<Outcome, Failure>
where
    C::Worker: 'static,
{
    let large: http::Uri = task.large.as_deref().ok_or("no --large")?.parse()?;
    let (mut small, mut other) = (client.worker(task).await?, client.worker(task).await?);
    C::ask(&mut small, task, &url).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let (its_task, over) = (task.clone(), is_over.clone());
    let download = spawn(async move {
        let mut length = 0;
        while !over.load(Ordering::Relaxed) {
            length += C::ask(&mut other, &its_task, &large).await?;
        }
        Ok::<u64, Failure>(length)
    });
    for _ in 0..100 {
        yield_now().await;
    }
    let meter = Meter::start();
    let mut latencies = Latencies::of(task);
    for _ in 0..task.requests {
        let begun = latencies.begin();
        C::ask(&mut small, task, &url).await?;
        latencies.end(begun);
    }
    is_over.store(true, Ordering::Relaxed);
    let bytes = download.await??;
    Ok(meter.stop(task.requests, bytes, &mut latencies))
}
