//! Answers, and look-ups whose answers come in two parts.

use std::{
    future::Future,
    io, mem,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use httpcore_core_primitives::BoxFuture;

/// The addresses of a host, and for how long they are valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The addresses, in the order in which they should be tried.
    pub addresses: Vec<SocketAddr>,
    /// The time for which the answer may be cached, from now on (RFC 1035 §3.2.1); `None` if it is not
    /// known.
    pub ttl: Option<Duration>,
}

impl Answer {
    /// Creates an answer of unknown validity.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Answer {
            addresses,
            ttl: None,
        }
    }

    /// Sets the time for which the answer may be cached.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl From<Vec<SocketAddr>> for Answer {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Answer::new(addresses)
    }
}

/// The future of one answer.
pub type AnswerFuture = BoxFuture<'static, io::Result<Answer>>;

/// A look-up in progress, by how its answers come. Dropping it cancels it.
///
/// Exhaustive on purpose: a caller must know what to wait for.
#[must_use = "a look-up does nothing unless its futures are polled"]
pub enum Lookup {
    /// One answer with the addresses of both families.
    Whole(AnswerFuture),
    /// The two families are asked for apart, at the same time (AAAA and A, RFC 8305 §3). A family in
    /// which the host has no addresses has an empty answer, or fails with
    /// [`io::ErrorKind::NotFound`].
    Families {
        /// The IPv6 addresses.
        v6: AnswerFuture,
        /// The IPv4 addresses.
        v4: AnswerFuture,
    },
}

impl Lookup {
    /// A look-up whose answer is known.
    pub fn ready(answer: io::Result<Answer>) -> Self {
        Lookup::Whole(Box::pin(std::future::ready(answer)))
    }

    /// A look-up by a future of addresses, without a TTL.
    pub fn of_addresses(addresses: BoxFuture<'static, io::Result<Vec<SocketAddr>>>) -> Self {
        Lookup::Whole(without_ttl(addresses))
    }

    /// Waits for all addresses: those of IPv6 first. Fails if both families fail.
    pub fn into_addresses(self) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        match self {
            Lookup::Whole(answer) => Box::pin(async { Ok(answer.await?.addresses) }),
            Lookup::Families { v6, v4 } => Box::pin(Both {
                v6: Part::Pending(v6),
                v4: Part::Pending(v4),
            }),
        }
    }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Lookup::Whole(_) => "Lookup::Whole",
            Lookup::Families { .. } => "Lookup::Families",
        })
    }
}

pub(crate) fn without_ttl(
    addresses: BoxFuture<'static, io::Result<Vec<SocketAddr>>>,
) -> AnswerFuture {
    Box::pin(WithoutTtl(addresses))
}

struct WithoutTtl(BoxFuture<'static, io::Result<Vec<SocketAddr>>>);

impl Future for WithoutTtl {
    type Output = io::Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let found = self.0.as_mut().poll(cx);
        found.map(|found| found.map(Answer::new))
    }
}

/// One family of a look-up.
enum Part {
    Pending(AnswerFuture),
    Done(io::Result<Vec<SocketAddr>>),
}

impl Part {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Part::Pending(answer) = self {
            let answer = std::task::ready!(answer.as_mut().poll(cx));
            *self = Part::Done(answer.map(|answer| answer.addresses));
        }
        Poll::Ready(())
    }

    fn take(&mut self) -> io::Result<Vec<SocketAddr>> {
        match mem::replace(self, Part::Done(Ok(Vec::new()))) {
            Part::Done(result) => result,
            Part::Pending(_) => Ok(Vec::new()),
        }
    }
}

struct Both {
    v6: Part,
    v4: Part,
}

impl Future for Both {
    type Output = io::Result<Vec<SocketAddr>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (v6, v4) = (self.v6.poll(cx), self.v4.poll(cx));
        if v6.is_pending() || v4.is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(joined(self.v6.take(), self.v4.take()))
    }
}

/// Returns the addresses of both families, or one of the two errors: rather one that does not say that
/// the name has no addresses of that family.
pub fn joined(
    v6: io::Result<Vec<SocketAddr>>,
    v4: io::Result<Vec<SocketAddr>>,
) -> io::Result<Vec<SocketAddr>> {
    match (v6, v4) {
        (Ok(mut v6), Ok(v4)) => {
            v6.extend(v4);
            Ok(v6)
        }
        (Ok(found), Err(error)) | (Err(error), Ok(found)) => {
            let is_missing = error.kind() == io::ErrorKind::NotFound;
            if found.is_empty() && !is_missing {
                Err(error)
            } else {
                Ok(found)
            }
        }
        (Err(one), Err(other)) if one.kind() == io::ErrorKind::NotFound => Err(other),
        (Err(one), Err(_)) => Err(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;
    use std::future::ready;

    fn part(text: &'static str) -> AnswerFuture {
        let answer = match text {
            "missing" => Err(io::ErrorKind::NotFound.into()),
            "broken" => Err(io::ErrorKind::TimedOut.into()),
            "" => Ok(Answer::default()),
            address => Ok(Answer::new(vec![address.parse().unwrap()])),
        };
        Box::pin(ready(answer))
    }

    #[test]
    fn both_families_are_one_list_and_an_error_counts_only_without_addresses() {
        const V6: &str = "[2001:db8::1]:80";
        const V4: &str = "192.0.2.1:80";
        for (v6, v4, expected) in [
            (V6, V4, Ok(vec![V6, V4])),
            (V6, "missing", Ok(vec![V6])),
            ("broken", V4, Ok(vec![V4])),
            ("", V4, Ok(vec![V4])),
            ("", "", Ok(vec![])),
            ("", "missing", Ok(vec![])),
            ("broken", "", Err(io::ErrorKind::TimedOut)),
            ("missing", "broken", Err(io::ErrorKind::TimedOut)),
            ("broken", "missing", Err(io::ErrorKind::TimedOut)),
            ("missing", "missing", Err(io::ErrorKind::NotFound)),
        ] {
            let lookup = Lookup::Families {
                v6: part(v6),
                v4: part(v4),
            };
            let found = block_on(lookup.into_addresses());
            let found = found.map_err(|error| error.kind()).map(|found| {
                let texts = found.iter().map(ToString::to_string);
                texts.collect::<Vec<_>>()
            });
            let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect());
            assert_eq!(found, expected, "{v6} {v4}");
        }
    }
}
