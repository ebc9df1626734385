//! A test that is alone in its process, whose limit of file descriptors it lowers.

use std::{future::Future, io, pin::pin, sync::Arc, task, thread};

use httpcore_resolver::{Resolve, SystemResolver};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

struct Unpark(thread::Thread);

impl task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = task::Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        let mut cx = task::Context::from_waker(&waker);
        if let task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn shortage_of_descriptors_is_not_reported_as_a_missing_name() {
    let resolver = SystemResolver::default();
    let before = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, none).unwrap();
    let outcomes = ["localhost", "nothing.invalid"].map(|name| {
        let outcome = block_on(resolver.resolve(name, 80));
        (name, outcome)
    });
    setrlimit(Resource::Nofile, before).unwrap();
    for (name, outcome) in outcomes {
        match outcome {
            // A C library may know it without a file.
            Ok(_) => assert_eq!(name, "localhost"),
            Err(error) => {
                assert_ne!(error.kind(), io::ErrorKind::NotFound, "{name}: {error:?}");
                assert_eq!(error.raw_os_error(), Some(24), "{name}: {error:?}");
            }
        }
    }
}
