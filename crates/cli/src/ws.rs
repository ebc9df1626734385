//! `httpcore ws`.

use std::{
    future::poll_fn,
    io::{self, BufRead, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
    task::{Context, Poll, Waker, ready},
    thread,
    time::Duration,
};

use httpcore::{
    EventLoop,
    backend::LazyTimer,
    ws::{Config, Handshake, Message, OpenError, WebSocket},
};

use crate::{
    Exit,
    args::Ws,
    output::{self, say},
    target::Target,
};

/// How long nothing must have come, once stdin has ended, before this side closes: a server need not
/// answer what it was sent before that.
const QUIET: Duration = Duration::from_millis(500);
/// How many lines are read ahead.
const MAX_QUEUED_MESSAGES: usize = 64;
/// The largest message that is printed, in bytes.
const LARGEST: usize = 256 << 20;

pub(crate) fn run(options: &Ws) -> Result<(), Exit> {
    let epoll = EventLoop::new()?;
    let pool = options.reach.pool(&epoll)?;
    let target = Target::parse(&options.url, "ws")?;
    let mut headers = options.reach.headers.clone();
    target.authorize(&mut headers);
    let mut handshake = Handshake::new(target.url)
        .option(options.reach.timeouts())
        .option(options.reach.listener(&epoll));
    for name in &options.subprotocols {
        handshake = handshake.subprotocol(name);
    }
    for (name, value) in &headers {
        handshake = handshake.header(name, value);
    }
    epoll.block_on(async {
        let opened = match pool.websocket(handshake).await {
            Ok(opened) => opened,
            Err(error) => return Err(refused(error, &epoll).await),
        };
        if options.reach.verbose {
            let response = &opened.response;
            let chosen = opened.subprotocol.as_deref().unwrap_or("no subprotocol");
            let version = output::version(response.version());
            say!("* {version} {}, {chosen}", response.status());
        }
        let config = Config::default().with_max_message_size(LARGEST);
        let quiet = LazyTimer::new(epoll.backend(), "quiet after the end of stdin");
        converse(WebSocket::new(opened.stream, config), quiet).await
    })
}

/// The error of a handshake. The beginning of what a server has to say to that goes to stderr.
async fn refused(error: OpenError, epoll: &EventLoop) -> Exit {
    let said = error.to_string();
    match error {
        OpenError::Refused(response) => {
            output::say_excerpt(response.into_response().into_body(), epoll).await;
            io::Error::other(said).into()
        }
        other => other.into(),
    }
}

/// Lines out and messages in, both at once, until both sides have closed.
async fn converse(mut socket: WebSocket, mut quiet: LazyTimer) -> Result<(), Exit> {
    let lines = Lines::of_stdin();
    let mut out = io::stdout();
    let mut quiet_since = None;
    poll_fn(|cx| {
        loop {
            match socket.poll_message(cx) {
                Poll::Ready(Some(message)) => {
                    quiet_since = None;
                    show(&mut out, message?).map_err(output::stdout_failed)?;
                }
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        loop {
            // That nothing more can be sent is for the next message to explain.
            let Poll::Ready(Ok(())) = socket.poll_ready(cx) else {
                return Poll::Pending;
            };
            match lines.poll_next(cx) {
                Poll::Ready(Some(line)) => socket.start_send(line?.into())?,
                Poll::Ready(None) => {
                    let since = *quiet_since.get_or_insert_with(|| quiet.now());
                    ready!(quiet.poll_until(cx, since.checked_add(QUIET)));
                    // What is still on its way to us will be shown.
                    if let Poll::Ready(finished) = socket.poll_finish(cx, None) {
                        finished?;
                    }
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

fn show(out: &mut impl Write, message: Message) -> io::Result<()> {
    match message {
        Message::Text(text) => writeln!(out, "{text}")?,
        Message::Binary(data) => out.write_all(&data)?,
        Message::Close(Some(close)) if close.code != 1000.into() => {
            say!("* closed: {} {}", close.code, close.reason);
        }
        _ => {}
    }
    out.flush()
}

/// The lines of stdin, which can only be waited for by a thread.
struct Lines {
    lines: Receiver<io::Result<String>>,
    /// The task which waits for a line.
    waiting: Arc<Mutex<Option<Waker>>>,
}

impl Lines {
    fn of_stdin() -> Self {
        let (sender, lines) = sync_channel(MAX_QUEUED_MESSAGES);
        let waiting = Arc::<Mutex<Option<Waker>>>::default();
        let waits = waiting.clone();
        // It ends with the process at the latest: a blocking read cannot be woken.
        thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                let failed = line.is_err();
                if sender.send(line).is_err() || failed {
                    break;
                }
                wake(&waits);
            }
            drop(sender);
            wake(&waits);
        });
        Lines { lines, waiting }
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<io::Result<String>>> {
        let waker = Some(cx.waker().clone());
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waker;
        // Looked at after the waker was left: a line that came in between is found.
        match self.lines.try_recv() {
            Ok(line) => Poll::Ready(Some(line)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }
}

fn wake(waiting: &Mutex<Option<Waker>>) {
    let waker = waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(waker) = waker {
        waker.wake();
    }
}
