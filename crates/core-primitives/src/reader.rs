//! Bodies from blocking readers, such as files.
//!
//! Each such body has a thread of its own while it is sent, which reads ahead by a few pieces:
//!
//! ```text
//!   reader ──read──► thread ──push──► pieces ──poll──► connection
//!                       ▲ waits while MAX_PIECES are queued
//! ```

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use bytes::Bytes;

use crate::body::Body;

/// Size of a piece, in bytes: large enough that handing it over costs little beside sending it.
const PIECE_BYTES: usize = 64 * 1024;

/// Maximum number of pieces read ahead.
const MAX_PIECES: usize = 2;

/// Bodies from blocking readers.
impl Body {
    /// Creates a body of what a blocking reader yields. `open` is called for each time that the
    /// body is sent, and must yield the same data each time: the body can be sent again.
    ///
    /// `open` and the reader run on a thread that is started when the body is first polled; it reads
    /// at most 128 KiB ahead and ends with the body. Dropping the body does not interrupt a read;
    /// the thread ends after it. The body has no length; see [`with_length`](Self::with_length).
    ///
    /// A test in virtual time does not wait for such a thread: use `Body::from` there.
    ///
    /// ```
    /// use httpcore_core_primitives::Body;
    ///
    /// let body = Body::from_reader(|| Ok(std::io::Cursor::new("data"))).with_length(4);
    /// assert!(body.try_clone().is_some());
    /// ```
    ///
    /// # Errors
    ///
    /// An error of `open` or of the reader ends the body and its request, with
    /// [`ErrorKind::RequestBody`](crate::ErrorKind::RequestBody).
    pub fn from_reader<R>(open: impl Fn() -> io::Result<R> + Send + Sync + 'static) -> Self
    where
        R: Read + 'static,
    {
        let open = Arc::new(open);
        Body::replayable(move || {
            let open = open.clone();
            let mut source = Source::NotStarted(move || open());
            Body::poll_fn(move |cx| source.poll(cx))
        })
    }

    /// Creates a body of the file at `path`. It can be sent again, and is read as by
    /// [`from_reader`](Self::from_reader): off the event loop, in pieces.
    ///
    /// A regular file's length is taken now; one that turns out to have another length when it is
    /// sent fails the request.
    ///
    /// # Errors
    ///
    /// If the file does not exist or its metadata cannot be read.
    pub fn file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let metadata = std::fs::metadata(&path)?;
        let body = Body::from_reader(move || File::open(&path));
        Ok(if metadata.is_file() {
            body.with_length(metadata.len())
        } else {
            body
        })
    }
}

enum Source<O> {
    NotStarted(O),
    Started(Receiver),
    Ended,
}

impl<O, R> Source<O>
where
    O: Fn() -> io::Result<R> + Send + 'static,
    R: Read + 'static,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        if matches!(self, Source::NotStarted(_))
            && let Source::NotStarted(open) = std::mem::replace(self, Source::Ended)
        {
            match start(open) {
                Ok(receiver) => *self = Source::Started(receiver),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let Source::Started(receiver) = self else {
            return Poll::Ready(None);
        };
        let next = std::task::ready!(receiver.poll(cx));
        if !matches!(next, Some(Ok(_))) {
            *self = Source::Ended;
        }
        Poll::Ready(next)
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// Notified when a piece has been taken or the receiver has been dropped.
    space: Condvar,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<io::Result<Bytes>>,
    /// The reader is at its end.
    has_ended: bool,
    /// The body has been dropped.
    is_closed: bool,
    waker: Option<Waker>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room. `false` if the body has been dropped.
    fn wait_for_space(&self) -> bool {
        let mut state = self.lock();
        while state.pieces.len() >= MAX_PIECES && !state.is_closed {
            state = self
                .space
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_closed
    }

    /// Queues a piece, or the end, and wakes the body's task.
    fn push(&self, piece: Option<io::Result<Bytes>>) {
        let mut state = self.lock();
        match piece {
            Some(piece) => state.pieces.push_back(piece),
            None => state.has_ended = true,
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Marks the end also if the reader panics, so that the body fails instead of waiting.
struct Sender {
    queue: Arc<Queue>,
    is_finished: bool,
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.is_finished {
            self.queue
                .push(Some(Err(io::Error::other("the body's reader panicked"))));
        }
    }
}

fn start<R: Read>(open: impl Fn() -> io::Result<R> + Send + 'static) -> io::Result<Receiver> {
    let receiver = Receiver(Arc::new(Queue::default()));
    let mut sender = Sender {
        queue: receiver.0.clone(),
        is_finished: false,
    };
    thread::Builder::new()
        .name("httpcore-body".into())
        .spawn(move || {
            let last = match open() {
                Ok(reader) => read_all(reader, &sender.queue).err().map(Err),
                Err(error) => Some(Err(error)),
            };
            sender.is_finished = true;
            sender.queue.push(last);
        })?;
    Ok(receiver)
}

/// Reads until the end of `reader` or of the body.
fn read_all(mut reader: impl Read, queue: &Queue) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    while queue.wait_for_space() {
        let size = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        queue.push(Some(Ok(Bytes::copy_from_slice(&buffer[..size]))));
    }
    Ok(())
}

struct Receiver(Arc<Queue>);

impl Receiver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        // Cloned and dropped outside of the lock: a waker is foreign code.
        let waker = cx.waker().clone();
        let mut state = self.0.lock();
        if let Some(piece) = state.pieces.pop_front() {
            drop(state);
            self.0.space.notify_one();
            return Poll::Ready(Some(piece));
        }
        if state.has_ended {
            return Poll::Ready(None);
        }
        let previous = state.waker.replace(waker);
        drop(state);
        drop(previous);
        Poll::Pending
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let pieces = std::mem::take(&mut state.pieces);
        let waker = state.waker.take();
        drop(state);
        drop((pieces, waker));
        self.0.space.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        task::Wake,
    };

    use super::*;
    use crate::{BodyLength, ErrorKind};

    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
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

    #[test]
    fn a_file_is_sent_whole_and_again() {
        let path = std::env::temp_dir().join(format!("httpcore-body-{}", std::process::id()));
        let data: Vec<u8> = (0..5 * PIECE_BYTES + 17).map(|n| n as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let body = Body::file(&path).unwrap();
        let again = body.try_clone().unwrap();
        for body in [body, again] {
            assert_eq!(body.length(), BodyLength::Known(data.len() as u64));
            assert_eq!(block_on(body.bytes(usize::MAX)).unwrap(), data);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            Body::file(&path).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn failures_to_open_and_to_read_end_the_body() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        struct Panics;
        impl Read for Panics {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("a panic of the test's reader, which is meant")
            }
        }
        let unopened = Body::from_reader(|| Err::<Fails, _>(io::ErrorKind::NotFound.into()));
        let failing = Body::from_reader(|| Ok(Fails));
        let panicking = Body::from_reader(|| Ok(Panics));
        for (body, kind) in [
            (unopened, io::ErrorKind::NotFound),
            (failing, io::ErrorKind::PermissionDenied),
            (panicking, io::ErrorKind::Other),
        ] {
            let error = block_on(body.bytes(100)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::RequestBody);
            let source = error.cause().unwrap().downcast_ref::<io::Error>().unwrap();
            assert_eq!(source.kind(), kind);
        }
    }

    /// Counts its reads, and reports when it is dropped.
    struct Endless(Arc<AtomicUsize>, mpsc::Sender<()>);

    impl Read for Endless {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(buf.len())
        }
    }

    impl Drop for Endless {
        fn drop(&mut self) {
            let _ = self.1.send(());
        }
    }

    #[test]
    fn a_dropped_body_ends_its_thread_which_reads_ahead_by_a_bounded_amount() {
        let reads = Arc::new(AtomicUsize::new(0));
        let (dropped, ended) = mpsc::channel();
        let counter = reads.clone();
        let dropped = Mutex::new(dropped);
        let mut body = Body::from_reader(move || {
            Ok(Endless(counter.clone(), dropped.lock().unwrap().clone()))
        });
        assert_eq!(block_on(body.chunk()).unwrap().unwrap().len(), PIECE_BYTES);
        drop(body);
        ended.recv().unwrap();
        assert!(reads.load(Ordering::SeqCst) <= 1 + MAX_PIECES);
    }

    #[test]
    fn an_unpolled_body_starts_no_thread() {
        let body = Body::from_reader(|| -> io::Result<io::Empty> {
            panic!("opened, although the body was not polled")
        });
        assert_eq!(body.length(), BodyLength::Unknown);
        drop(body);
    }
}
