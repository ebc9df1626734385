//! A way to wait in tests, which fails instead of hanging.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

/// More than anything here takes, on any machine.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(60);

struct Channel(Mutex<mpsc::Sender<()>>);

impl Wake for Channel {
    fn wake(self: Arc<Self>) {
        // The receiver may be gone: nothing waits any more.
        let _ = self.0.lock().unwrap().send(());
    }
}

/// Runs `future` to its end on this thread. Panics when nothing wakes it.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let (sender, woken) = mpsc::channel();
    let waker = Waker::from(Arc::new(Channel(Mutex::new(sender))));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        woken.recv_timeout(TOO_LONG).expect("nothing woke the test");
    }
}

/// Polls `future` once, with `waker`.
pub(crate) fn poll_with<F: Future + ?Sized>(
    future: &mut Pin<Box<F>>,
    waker: &Waker,
) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(waker))
}
