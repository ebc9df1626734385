//! Resolves the names of the command line concurrently, and prints which addresses are public.
//!
//! `pinned.example` is resolved from a table. A name that is given twice is looked up once.

use std::{
    env,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use httpcore_resolver::{Resolve, StaticHosts, SystemResolver, is_public, literal};

fn main() {
    let pinned: IpAddr = [192, 0, 2, 1].into();
    let system = Arc::new(SystemResolver::default());
    let resolver = StaticHosts::new(system).host("pinned.example", [pinned]);
    // Each look-up begins here; waiting for one after the other takes as long as the slowest.
    let lookups: Vec<_> = env::args()
        .skip(1)
        .map(|name| {
            let answer = match literal(&name, 0) {
                Some(address) => Box::pin(std::future::ready(Ok(vec![address]))),
                None => resolver.resolve(&name, 0),
            };
            (name, answer)
        })
        .collect();
    println!("{resolver:?}");
    for (name, answer) in lookups {
        show(&name, block_on(answer));
    }
}

fn show(name: &str, outcome: io::Result<Vec<SocketAddr>>) {
    match outcome {
        Ok(addresses) => {
            for address in addresses {
                let ip = address.ip();
                let kind = if is_public(ip) {
                    "public"
                } else {
                    "not public"
                };
                println!("{name}: {ip} ({kind})");
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("{name}: does not exist ({error})");
        }
        Err(error) => println!("{name}: could not be looked up ({error})"),
    }
}

/// Waits on this thread. A program on an event loop awaits instead.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
