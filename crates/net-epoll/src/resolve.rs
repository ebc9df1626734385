//! Names to addresses.
//!
//! The system's own lookup (getaddrinfo) blocks, cannot be cancelled, and may take half a minute.
//! So it runs on helper threads: few, started when first needed, gone again when there has been
//! nothing to do for a while. A lookup that nobody waits for any more is left to end by itself, and
//! if it has not begun, it never does.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use httpcore_core_primitives::BoxFuture;

/// Looks names up. Put another one into [`Builder::resolver`](crate::Builder::resolver) to use a
/// table, a cache, or a DNS client of one's own.
///
/// IP literals never get here.
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `host`, in the order in which they should be tried. Dropping the future
    /// gives the lookup up.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] when the name does not exist; anything else when it could not
    /// be looked up.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// `host` if it is an IP address, which needs no looking up.
pub(crate) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let address: IpAddr = host.parse().ok()?;
    Some(SocketAddr::new(address, port))
}

/// The system's own lookup, on helper threads. The default.
///
/// The order is the system's (RFC 6724, `/etc/gai.conf`).
pub struct Getaddrinfo {
    desk: Arc<Desk>,
}

/// How many lookups may wait for a helper. Beyond this, something is wrong with the names or with
/// the network, and refusing at once says so.
const MOST_WAITING: usize = 1024;

/// How long a helper waits for more to do.
const PATIENCE: Duration = Duration::from_secs(10);

impl Getaddrinfo {
    /// With at most `helpers` threads, and at least one.
    ///
    /// The default is four: lookups of different names do not wait for one that hangs, until four
    /// hang.
    pub fn new(helpers: usize) -> Self {
        Getaddrinfo {
            desk: Arc::new(Desk {
                state: Mutex::default(),
                called: Condvar::new(),
                most: helpers.max(1),
                lookup,
            }),
        }
    }

    #[cfg(test)]
    fn with_lookup(helpers: usize, lookup: Lookup) -> Self {
        Getaddrinfo {
            desk: Arc::new(Desk {
                state: Mutex::default(),
                called: Condvar::new(),
                most: helpers,
                lookup,
            }),
        }
    }
}

impl Default for Getaddrinfo {
    fn default() -> Self {
        Getaddrinfo::new(4)
    }
}

impl Resolve for Getaddrinfo {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let answer = Arc::new(Answer::default());
        let question = Question {
            host: host.to_owned(),
            port,
            answer: Arc::downgrade(&answer),
        };
        match self.desk.submit(question) {
            Ok(()) => Box::pin(Waiting(answer)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl fmt::Debug for Getaddrinfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.desk.state();
        f.debug_struct("Getaddrinfo")
            .field("most_helpers", &self.desk.most)
            .field("helpers", &state.helpers)
            .field("waiting", &state.questions.len())
            .finish()
    }
}

impl Drop for Getaddrinfo {
    fn drop(&mut self) {
        // Helpers in the middle of a lookup cannot be called back; they end after it.
        let mut state = self.desk.state();
        state.closed = true;
        let questions = std::mem::take(&mut state.questions);
        drop(state);
        self.desk.called.notify_all();
        for question in questions {
            question.answer(Err(io::Error::other("the resolver is gone")));
        }
    }
}

/// How a name is looked up; tests have another way.
type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Where questions are put, and helpers wait for them.
struct Desk {
    state: Mutex<DeskState>,
    called: Condvar,
    most: usize,
    lookup: Lookup,
}

#[derive(Default)]
struct DeskState {
    questions: VecDeque<Question>,
    helpers: usize,
    idle: usize,
    closed: bool,
}

impl Desk {
    fn submit(self: &Arc<Self>, question: Question) -> io::Result<()> {
        let mut state = self.state();
        if state.questions.len() >= MOST_WAITING {
            // Most of them may have been given up.
            state.questions.retain(Question::is_wanted);
            if state.questions.len() >= MOST_WAITING {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "too many names are waiting to be looked up",
                ));
            }
        }
        state.questions.push_back(question);
        if state.questions.len() <= state.idle || state.helpers >= self.most {
            drop(state);
            self.called.notify_one();
            return Ok(());
        }
        let desk = self.clone();
        let helper = thread::Builder::new()
            .name("httpcore-resolve".into())
            .spawn(move || desk.help());
        match helper {
            Ok(_) => state.helpers += 1,
            // Another helper will come to it.
            Err(_) if state.helpers > 0 => {}
            Err(error) => {
                state.questions.pop_back();
                return Err(error);
            }
        }
        Ok(())
    }

    /// A helper's life.
    fn help(&self) {
        let mut state = self.state();
        loop {
            if let Some(question) = state.questions.pop_front() {
                drop(state);
                if question.is_wanted() {
                    let answer = (self.lookup)(&question.host, question.port);
                    question.answer(answer);
                }
                state = self.state();
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let (woken, waited) = self
                .called
                .wait_timeout(state, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.questions.is_empty() {
                break;
            }
        }
        state.helpers -= 1;
    }

    fn state(&self) -> MutexGuard<'_, DeskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Question {
    host: String,
    port: u16,
    /// Gone when nobody wants to know any more.
    answer: Weak<Answer>,
}

impl Question {
    fn is_wanted(&self) -> bool {
        self.answer.strong_count() > 0
    }

    fn answer(&self, found: io::Result<Vec<SocketAddr>>) {
        if let Some(answer) = self.answer.upgrade() {
            let waker = {
                let mut state = answer.state();
                state.found = Some(found);
                state.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Where a helper leaves what it found.
#[derive(Default)]
struct Answer(Mutex<AnswerState>);

#[derive(Default)]
struct AnswerState {
    found: Option<io::Result<Vec<SocketAddr>>>,
    waker: Option<Waker>,
}

impl Answer {
    fn state(&self) -> MutexGuard<'_, AnswerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Waiting(Arc<Answer>);

impl Future for Waiting {
    type Output = io::Result<Vec<SocketAddr>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state();
        if let Some(found) = state.found.take() {
            return Poll::Ready(found);
        }
        let former = state.waker.replace(cx.waker().clone());
        drop(state);
        drop(former);
        Poll::Pending
    }
}

fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = (host, port)
        .to_socket_addrs()
        .map_err(name_or_network)?
        .collect();
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no addresses",
        ));
    }
    Ok(found)
}

/// Tells a name that does not exist from a lookup that failed.
///
/// The system says so by a number (`EAI_NONAME`, `EAI_NODATA`), of which std passes on the text
/// alone, without a kind. The texts are those of the C libraries there are on Linux. A text which
/// is not known here, because it is new or has been translated, leaves the error as it is: then it
/// is still an error of looking up, and it is never said of a name that it does not exist when
/// that is not sure.
fn name_or_network(error: io::Error) -> io::Error {
    const NO_SUCH_NAME: [&str; 5] = [
        "Name or service not known",           // glibc, EAI_NONAME
        "No address associated with hostname", // glibc, EAI_NODATA
        "Name does not resolve",               // musl, EAI_NONAME
        "Name has no usable address",          // musl, EAI_NODATA
        "No address associated with nodename", // bionic, EAI_NODATA
    ];
    // A number of the system's own is a failure of a system call (`EAI_SYSTEM`).
    if error.raw_os_error().is_some() {
        return error;
    }
    let text = error.to_string();
    if NO_SUCH_NAME.iter().any(|known| text.ends_with(known)) {
        return io::Error::new(io::ErrorKind::NotFound, error);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn an_address_is_not_looked_up() {
        assert_eq!(
            literal("::1", 80),
            Some(SocketAddr::new(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), 80))
        );
        assert_eq!(
            literal("127.0.0.1", 1),
            Some(SocketAddr::from(([127, 0, 0, 1], 1)))
        );
        assert_eq!(literal("localhost", 80), None);
        assert_eq!(literal("127.1", 80), None);
    }

    #[test]
    fn a_name_that_does_not_exist_is_told_from_a_lookup_that_failed() {
        let prefix = "failed to lookup address information: ";
        for (text, found) in [
            ("Name or service not known", true),
            ("No address associated with hostname", true),
            ("Name does not resolve", true),
            ("Temporary failure in name resolution", false),
            ("Non-recoverable failure in name resolution", false),
            ("Name oder Dienst nicht bekannt", false),
        ] {
            let error = name_or_network(io::Error::other(format!("{prefix}{text}")));
            assert_eq!(error.kind() == io::ErrorKind::NotFound, found, "{text}");
        }
        let system = name_or_network(io::Error::from_raw_os_error(24));
        assert_eq!(system.raw_os_error(), Some(24));
    }

    #[test]
    fn a_name_under_invalid_is_not_found_or_cannot_be_asked_for() {
        // RFC 6761 §6.4: names under .invalid do not exist, and resolvers say so at once. Where
        // there is no DNS at all, the system says that it failed.
        let error = lookup("nothing.invalid", 80).unwrap_err();
        let text = error.to_string();
        assert!(
            error.kind() == io::ErrorKind::NotFound || text.contains("Temporary failure"),
            "{error:?}"
        );
    }

    #[test]
    fn a_question_given_up_before_its_turn_is_never_asked() {
        // The lookup is a plain function, and so what it talks to is static.
        static GATE: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);
        static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());
        fn gated(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            ASKED.lock().unwrap().push(host.to_owned());
            if host == "slow" {
                GATE.lock().unwrap().as_ref().unwrap().recv().unwrap();
            }
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        }
        let (open, gate) = mpsc::channel();
        *GATE.lock().unwrap() = Some(gate);

        let resolver = Getaddrinfo::with_lookup(1, gated);
        let slow = resolver.resolve("slow", 1);
        let given_up = resolver.resolve("given up", 1);
        let wanted = resolver.resolve("wanted", 1);
        drop(given_up);
        open.send(()).unwrap();
        let epoll = crate::Epoll::new().unwrap();
        epoll.block_on(async {
            slow.await.unwrap();
            wanted.await.unwrap();
        });
        assert_eq!(*ASKED.lock().unwrap(), ["slow", "wanted"]);
        assert_eq!(resolver.desk.state().helpers, 1);
    }
}
