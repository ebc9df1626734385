//! ureq: one thread for each request in flight.

#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, Read as _},
    net::SocketAddr,
    thread,
    time::Duration,
};

use httpcore_benches::{
    CHUNK_BYTES, Failure, Latencies, Meter, Outcome, Task, Workload, cannot, run,
};
use ureq::{
    Agent, SendBody,
    config::Config,
    http::Uri,
    tls::{Certificate, RootCerts, TlsConfig},
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

fn main() {
    run(|task| {
        if task.http2 {
            cannot("HTTP/2");
        }
        let agent = agent(task)?;
        match task.workload {
            Workload::Get | Workload::Upload => {
                together(&agent, &task.warm_up(), task.in_flight)?;
                together(&agent, task, task.requests)
            }
            Workload::Connect => {
                if task.is_https() && !task.resume {
                    cannot("handshakes without resumption");
                }
                ask(&agent, task, &mut [0; CHUNK_BYTES])?;
                together(&agent, task, task.requests)
            }
            Workload::Idle => {
                let outcome = together(&agent, task, task.in_flight)?;
                // Not dropped: what it holds is counted when the process ends.
                std::mem::forget(agent);
                Ok(outcome)
            }
            Workload::HappyEyeballs => together(&agent, task, 1),
            Workload::ConcurrentDownload => cannot("a download and requests on one thread"),
        }
    })
}

fn agent(task: &Task) -> Result<Agent, Failure> {
    let kept = if task.workload == Workload::Connect {
        0
    } else {
        usize::try_from(task.in_flight)?
    };
    let mut config = Agent::config_builder()
        .max_idle_connections(kept)
        .max_idle_connections_per_host(kept)
        .max_idle_age(Duration::from_secs(3600))
        .proxy(None);
    if let Some(ca) = &task.ca {
        let root = Certificate::from_pem(&fs::read(ca)?)?;
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root]));
        config = config.tls_config(tls.build());
    }
    if task.workload == Workload::HappyEyeballs {
        let known = Known(task.addresses.clone());
        let connector = DefaultConnector::default();
        return Ok(Agent::with_parts(config.build(), connector, known));
    }
    Ok(config.build().new_agent())
}

/// Resolves every name to the given addresses.
#[derive(Debug)]
struct Known(Vec<SocketAddr>);

impl Resolver for Known {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        for addr in &self.0 {
            addresses.push(*addr);
        }
        Ok(addresses)
    }
}

/// Makes `requests` requests on one thread for each request in flight.
fn together(agent: &Agent, task: &Task, requests: u64) -> Result<Outcome, Failure> {
    let meter = Meter::start();
    if task.in_flight == 1 {
        let (bytes, mut latencies) = one_by_one(agent, task, requests)?;
        return Ok(meter.stop(requests, bytes, &mut latencies));
    }
    thread::scope(|scope| {
        let workers: Vec<_> = task
            .shares(requests)
            .map(|share| {
                thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn_scoped(scope, move || one_by_one(agent, task, share))
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

fn one_by_one(agent: &Agent, task: &Task, requests: u64) -> Result<(u64, Latencies), Failure> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut bytes, mut latencies) = (0, Latencies::of(task));
    for _ in 0..requests {
        let begun = latencies.begin();
        bytes += ask(agent, task, &mut buffer)?;
        latencies.end(begun);
    }
    Ok((bytes, latencies))
}

fn ask(agent: &Agent, task: &Task, buffer: &mut [u8]) -> Result<u64, Failure> {
    let response = if task.workload == Workload::Upload {
        let zeros = io::repeat(0).take(task.size);
        agent
            .post(&task.url)
            .header("content-length", task.size)
            .send(SendBody::from_owned_reader(zeros))?
    } else {
        agent.get(&task.url).call()?
    };
    let mut reader = response.into_body().into_reader();
    let mut length = 0;
    loop {
        match reader.read(buffer)? {
            0 => return Ok(length),
            size => length += size as u64,
        }
    }
}
