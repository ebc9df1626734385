//! One scenario, every backend: what keeps the mock honest.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use bytes::Bytes;
use httpcore::{
    Body, ConnectionPool, ConnectionPoolBuilder, Error, EventLoop, Response, Timeouts,
    backend::Runtime, trace::PoolStatus,
};
use httpcore_net_epoll::Blocking;
use httpcore_net_mock::{MockNet, ServerStream};
use httpcore_net_tokio::TokioBackend;

use crate::smol::Smol;

/// One step of a server's side of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Read a head, up to and with its empty line.
    Head,
    /// Read this many bytes.
    Read(usize),
    /// Read chunks, up to and with the last one and its empty line.
    Chunks,
    /// Read up to and with this.
    Until(&'static str),
    /// Answer every head with this, until the client has closed.
    Serve(&'static str),
    /// Write this.
    Send(&'static str),
    /// Write this many bytes of `x`.
    SendMany(usize),
    /// Close the writing side, and go on reading.
    HalfClose,
    /// Close as a server does that knows its manners.
    Close,
    /// Close without manners.
    Reset,
    /// Read until the client has closed.
    Drain,
    /// Neither read nor write until the client's story is over.
    Stall,
}

/// A script for each connection that the client will make, and what the client does.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// A sentence.
    pub name: &'static str,
    /// In the order in which the connections are accepted.
    pub connections: &'static [&'static [Step]],
    /// Changes to the pool's settings.
    pub pool: fn(ConnectionPoolBuilder) -> ConnectionPoolBuilder,
    /// What the client does, and what it has to say about it.
    pub client: fn(Client) -> Story,
    /// What it should have to say.
    pub outcome: &'static str,
}

/// What a client does.
pub type Story = Pin<Box<dyn Future<Output = String> + Send>>;

/// What a story has to work with.
#[derive(Clone, Debug)]
pub struct Client {
    /// The pool.
    pub pool: ConnectionPool,
    runtime: Arc<dyn Runtime>,
    base: String,
}

impl Client {
    /// A client of `pool`; `base` is the scheme and the authority of what it asks for.
    pub fn new(pool: ConnectionPool, runtime: Arc<dyn Runtime>, base: impl Into<String>) -> Self {
        Client {
            pool,
            runtime,
            base: base.into(),
        }
    }

    /// Time and tasks of the client's world.
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        self.runtime.clone()
    }

    /// A request for `path` of the scenario's server.
    pub fn request(&self, method: &str, path: &str, body: impl Into<Body>) -> httpcore::Request {
        http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .body(body.into())
            .expect("a scenario's request is well formed")
    }

    /// Sends a request, reads the response to its end, and tells both in one line.
    pub async fn send(&self, request: httpcore::Request) -> String {
        match self.pool.request(request).await {
            Ok(response) => tell(response).await,
            Err(error) => tell_error(&error),
        }
    }

    /// Sends a GET, and tells.
    pub async fn get(&self, path: &str) -> String {
        self.send(self.request("GET", path, Body::empty())).await
    }

    /// Sends a GET under these time limits, and tells.
    pub async fn get_within(&self, path: &str, timeouts: Timeouts) -> String {
        let mut request = self.request("GET", path, Body::empty());
        request.extensions_mut().insert(timeouts);
        self.send(request).await
    }
}

impl Client {
    /// Lets time pass.
    pub async fn waits(&self, time: Duration) {
        let then = self.runtime.now() + time;
        httpcore::backend::sleep_until(&self.runtime, then).await;
    }

    /// Waits until the pool looks like that, asking now and then; says whether it came to do so.
    /// How long it takes is not specified, and so the limit is generous.
    pub async fn sees(&self, such: impl Fn(&PoolStatus) -> bool) -> bool {
        for _ in 0..2000 {
            if such(&self.pool.status()) {
                return true;
            }
            let soon = self.runtime.now() + Duration::from_millis(5);
            httpcore::backend::sleep_until(&self.runtime, soon).await;
        }
        false
    }

    /// Waits until the pool has no connections; says whether it came to have none.
    pub async fn outlives_connections(&self) -> bool {
        self.sees(|status| status.connections.is_empty()).await
    }
}

/// Reads a response to its end, and says in one line what it was.
pub async fn tell(response: Response) -> String {
    let mut line = response.status().as_u16().to_string();
    if let Some(value) = response.headers().get("x-seen") {
        line.push_str(&format!(" x-seen={}", value.to_str().unwrap_or("?")));
    }
    let mut body = response.into_body();
    let mut data = Vec::new();
    loop {
        match poll_fn(|cx| body.poll_next(cx)).await {
            None => break,
            Some(Err(error)) => return format!("{line} then {}", tell_error(&error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => data.extend_from_slice(&piece),
                Err(frame) => {
                    for (name, value) in &frame.into_trailers().unwrap_or_default() {
                        line.push_str(&format!(
                            " trailer {name}={}",
                            value.to_str().unwrap_or("?")
                        ));
                    }
                }
            },
        }
    }
    if data.len() > 100 {
        return format!("{line} {} bytes", data.len());
    }
    format!("{line} {:?}", String::from_utf8_lossy(&data))
}

/// Says in one line what an error knows.
pub fn tell_error(error: &Error) -> String {
    format!(
        "{:?} in {:?}, sent {:?}, response {}, connection {}, attempts {}",
        error.kind(),
        error.phase(),
        error.sent(),
        if error.response_started() {
            "begun"
        } else {
            "not begun"
        },
        if error.connection_reused() {
            "reused"
        } else {
            "new"
        },
        error.attempts(),
    )
}

impl Scenario {
    /// In virtual time. Says what the client said.
    ///
    /// # Panics
    ///
    /// If the server's scripts were not followed to their ends, or anything was left behind.
    pub fn on_mock(&self) -> String {
        let net = MockNet::new();
        let scripts = Arc::new(Scripts::new(self));
        let served = scripts.clone();
        net.serve("server.test", 80, move |stream| {
            let scripts = served.clone();
            async move {
                let how = follow_in_mock(stream, &scripts).await;
                scripts.ended(how);
            }
        });
        let before = net.live_counts();
        let outcome = net.run(async {
            let client = self.client_on(Arc::new(net.clone()), "http://server.test".to_owned());
            (self.client)(client).await
        });
        scripts.over();
        net.run_until_idle();
        scripts.check();
        assert_eq!(net.live_counts(), before, "{}: left behind", self.name);
        net.clear();
        outcome
    }

    /// Over sockets and our event loop. Says what the client said.
    ///
    /// # Panics
    ///
    /// As [`on_mock`](Self::on_mock).
    pub fn on_epoll(&self) -> String {
        self.over_sockets(|client| {
            let epoll = EventLoop::new().expect("an event loop");
            let client = client(epoll.backend());
            epoll.block_on((self.client)(client))
        })
    }

    /// Over sockets and a thread that waits. Says what the client said.
    ///
    /// # Panics
    ///
    /// As [`on_mock`](Self::on_mock).
    pub fn on_blocking(&self) -> String {
        self.over_sockets(|client| {
            let blocking = Blocking::new().expect("a means of waiting");
            let client = client(blocking.backend());
            blocking.block_on((self.client)(client))
        })
    }

    /// Over sockets and a tokio runtime of one thread. Returns what the client reports.
    ///
    /// # Panics
    ///
    /// As [`on_mock`](Self::on_mock).
    pub fn on_tokio_current_thread(&self) -> String {
        self.on_tokio(&mut tokio::runtime::Builder::new_current_thread())
    }

    /// Over sockets and a tokio runtime of two workers. Returns what the client reports.
    ///
    /// # Panics
    ///
    /// As [`on_mock`](Self::on_mock).
    pub fn on_tokio_multi_thread(&self) -> String {
        self.on_tokio(tokio::runtime::Builder::new_multi_thread().worker_threads(2))
    }

    fn on_tokio(&self, runtime: &mut tokio::runtime::Builder) -> String {
        self.over_sockets(|client| {
            let runtime = runtime.enable_all().build().expect("a runtime");
            let client = client(Arc::new(TokioBackend::on(runtime.handle())));
            // As a task, so that it is polled by the workers.
            let story = runtime.spawn((self.client)(client));
            runtime.block_on(story).expect("the client's story")
        })
    }

    /// Over sockets, smol's reactor and an executor of two threads. Returns what the client reports.
    ///
    /// # Panics
    ///
    /// As [`on_mock`](Self::on_mock).
    pub fn on_smol(&self) -> String {
        self.over_sockets(|client| {
            let smol = Smol::new();
            let client = client(Arc::new(smol.backend()));
            // As a task, so that it is polled by the other thread as well.
            let story = smol.executor().spawn((self.client)(client));
            smol.block_on(story)
        })
    }

    fn over_sockets(
        &self,
        run: impl FnOnce(&dyn Fn(Arc<dyn httpcore::backend::NetworkBackend>) -> Client) -> String,
    ) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("its address"));
        let scripts = Arc::new(Scripts::new(self));
        let server = {
            let (scripts, count) = (scripts.clone(), self.connections.len());
            thread::spawn(move || {
                let threads: Vec<_> = (0..count)
                    .map(|_| {
                        let (stream, _) = listener.accept().expect("a connection");
                        let (scripts, steps) = (scripts.clone(), scripts.next());
                        thread::spawn(move || {
                            let how = follow(&stream, &scripts, steps);
                            scripts.ended(how);
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .for_each(|thread| thread.join().expect("a script"));
            })
        };
        let outcome = run(&|backend| self.client_on(backend, base.clone()));
        scripts.over();
        server.join().expect("the server");
        scripts.check();
        outcome
    }

    fn client_on(
        &self,
        backend: Arc<dyn httpcore::backend::NetworkBackend>,
        base: String,
    ) -> Client {
        Client {
            pool: (self.pool)(ConnectionPool::builder()).build(backend.clone()),
            runtime: backend,
            base,
        }
    }
}

/// The scripts of a scenario, handed out one by one, and how they ended.
struct Scripts {
    name: &'static str,
    waiting: Mutex<VecDeque<&'static [Step]>>,
    ended: Mutex<Vec<io::Result<()>>>,
    count: usize,
    story: Mutex<Ending>,
    changed: Condvar,
}

/// Whether the client has finished, and the wakers that wait for that.
#[derive(Default)]
struct Ending {
    is_over: bool,
    waiting: Vec<Waker>,
}

impl Scripts {
    fn new(scenario: &Scenario) -> Self {
        Scripts {
            name: scenario.name,
            waiting: Mutex::new(scenario.connections.iter().copied().collect()),
            ended: Mutex::default(),
            count: scenario.connections.len(),
            story: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn over(&self) {
        let waiting = {
            let mut story = lock(&self.story);
            story.is_over = true;
            std::mem::take(&mut story.waiting)
        };
        self.changed.notify_all();
        waiting.into_iter().for_each(Waker::wake);
    }

    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut story = lock(&self.story);
        if story.is_over {
            return Poll::Ready(());
        }
        story.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    fn wait_until_over(&self) {
        let story = lock(&self.story);
        drop(self.changed.wait_while(story, |story| !story.is_over));
    }

    fn next(&self) -> &'static [Step] {
        let next = lock(&self.waiting).pop_front();
        next.unwrap_or_else(|| panic!("{}: there is no script for one more connection", self.name))
    }

    fn ended(&self, how: io::Result<()>) {
        lock(&self.ended).push(how);
    }

    fn check(&self) {
        let name = self.name;
        let ended = lock(&self.ended);
        for how in ended.iter() {
            if let Err(error) = how {
                panic!("{name}: a script was not followed: {error}");
            }
        }
        assert_eq!(ended.len(), self.count, "{name}: scripts begun and ended");
    }
}

async fn follow_in_mock(mut stream: ServerStream, scripts: &Scripts) -> io::Result<()> {
    for step in scripts.next() {
        match *step {
            Step::Head => drop(stream.read_until("\r\n\r\n").await?),
            Step::Read(count) => drop(stream.read_exact(count).await?),
            Step::Chunks => drop(stream.read_until("0\r\n\r\n").await?),
            Step::Until(text) => drop(stream.read_until(text).await?),
            Step::Serve(text) => {
                while stream.read_until("\r\n\r\n").await.is_ok() {
                    stream.write_all(text).await?;
                }
            }
            Step::Send(text) => stream.write_all(text).await?,
            Step::SendMany(count) => stream.write_all(many(count)).await?,
            Step::HalfClose => stream.close_write().await?,
            Step::Close => {
                stream.close();
                return Ok(());
            }
            Step::Reset => {
                stream.reset();
                return Ok(());
            }
            // The client closes with or without bytes unread, and so an error ends it as well.
            Step::Drain => drop(stream.read_to_end().await),
            Step::Stall => poll_fn(|cx| scripts.poll_over(cx)).await,
        }
    }
    Ok(())
}

fn follow(mut stream: &TcpStream, scripts: &Scripts, steps: &[Step]) -> io::Result<()> {
    // Nothing in a scenario takes this long; a script that waits for ever should say so instead.
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    for step in steps {
        match *step {
            Step::Head => read_until(stream, b"\r\n\r\n")?,
            Step::Read(count) => stream.read_exact(&mut vec![0; count])?,
            Step::Chunks => read_until(stream, b"0\r\n\r\n")?,
            Step::Until(text) => read_until(stream, text.as_bytes())?,
            Step::Serve(text) => {
                while read_until(stream, b"\r\n\r\n").is_ok() {
                    stream.write_all(text.as_bytes())?;
                }
            }
            Step::Send(text) => stream.write_all(text.as_bytes())?,
            Step::SendMany(count) => stream.write_all(&many(count))?,
            Step::HalfClose => stream.shutdown(Shutdown::Write)?,
            Step::Close => {
                stream.shutdown(Shutdown::Both)?;
                return Ok(());
            }
            Step::Reset => {
                let socket = socket2::SockRef::from(stream);
                return socket.set_linger(Some(Duration::ZERO));
            }
            Step::Drain => drop(stream.read_to_end(&mut Vec::new())),
            Step::Stall => scripts.wait_until_over(),
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn many(count: usize) -> Bytes {
    vec![b'x'; count].into()
}

/// Reads byte by byte, so that nothing behind the pattern is taken.
fn read_until(mut stream: &TcpStream, pattern: &[u8]) -> io::Result<()> {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(pattern) {
        stream.read_exact(&mut byte)?;
        seen.push(byte[0]);
    }
    Ok(())
}
