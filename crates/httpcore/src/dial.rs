//! How a route becomes a connection: resolve, connect, and then hop by hop.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use httpcore_core_primitives::{
    Alpn, BoxFuture, BoxStream, Error, Established, Event, Kind, NetworkBackend, Phase, Runtime,
    RuntimeGone, Sent, StreamInfo, TimeoutKind, TlsChoice, TlsConnector, TlsFailure, Trace,
    options::deadline, runtime::WithDeadline, with_deadline,
};
use httpcore_pool::{Dial, DialTerms, Endpoint, Hop, Route};
use httpcore_proto_h1::H1Connection;
#[cfg(feature = "http2")]
use httpcore_proto_h2::H2Connection;

use crate::race;

/// Makes connections out of a backend, TLS and the protocols.
#[derive(Debug)]
pub(crate) struct Dialler(pub(crate) Arc<Means>);

/// What connections are made of.
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) backend: Arc<dyn NetworkBackend>,
    pub(crate) tls: Option<Arc<dyn TlsConnector>>,
    pub(crate) race_delay: Duration,
    pub(crate) http1: Arc<httpcore_proto_h1::Config>,
    #[cfg(feature = "http2")]
    pub(crate) http2: Arc<httpcore_proto_h2::Config>,
}

impl Dial for Dialler {
    fn dial(
        &self,
        route: &Route,
        terms: &DialTerms,
    ) -> BoxFuture<'static, Result<Established, Error>> {
        let attempt = Attempt {
            means: self.0.clone(),
            route: route.clone(),
            terms: terms.clone(),
        };
        Box::pin(attempt.run())
    }
}

/// One connection being made. It owns all it needs, since it outlives the request that caused it.
struct Attempt {
    means: Arc<Means>,
    route: Route,
    terms: DialTerms,
}

impl Attempt {
    async fn run(self) -> Result<Established, Error> {
        let mut stream = self.connect().await?;
        self.trace().emit(|| {
            // Not before somebody listens: the local address takes a system call.
            let StreamInfo { peer, local, .. } = stream.info();
            (self.now(), Event::Connected { peer, local })
        });
        let mut chosen = None;
        for hop in self.route.hops() {
            (stream, chosen) = self.hop(hop, stream).await?;
        }
        #[cfg(feature = "http2")]
        if self.speaks_http2(chosen)? {
            // In a box, since it is large, and most connections are of the other kind.
            let http2 = self.means.http2.clone();
            let opening = Box::pin(H2Connection::open(stream, self.runtime(), http2));
            let connection = self
                .within(TimeoutKind::Connect, opening)
                .await
                .ok_or_else(|| late(TimeoutKind::Connect))??;
            return Ok(Established::Shared(Arc::new(connection)));
        }
        #[cfg(not(feature = "http2"))]
        let _ = chosen;
        let connection = H1Connection::new(stream, self.runtime(), self.means.http1.clone());
        Ok(Established::Exclusive(Box::new(connection)))
    }

    /// Which protocol was agreed on, or is known to be spoken.
    #[cfg(feature = "http2")]
    fn speaks_http2(&self, chosen: Option<Alpn>) -> Result<bool, Error> {
        if self.route.parts().http2_prior_knowledge {
            return Ok(true);
        }
        let offered_only_http2 = matches!(
            self.route.hops().last(),
            Some(Hop::Tls { offer, .. }) if offer[..] == [Alpn::Http2]
        );
        // RFC 9113 §3.2: without `h2` in its answer, a server does not speak it over TLS.
        if offered_only_http2 && chosen != Some(Alpn::Http2) {
            return Err(Error::new(Kind::Tls, Phase::Tls, Sent::Nothing)
                .with_message("the server did not choose HTTP/2, and nothing else is spoken"));
        }
        Ok(chosen == Some(Alpn::Http2))
    }

    async fn connect(&self) -> Result<BoxStream, Error> {
        let connected = match self.route.dial() {
            Endpoint::Tcp { host, port } => match self.route.literal() {
                Some(literal) => {
                    let attempt = self.race().attempt(literal);
                    self.within(TimeoutKind::Connect, attempt).await
                }
                None => {
                    let addresses = self.resolve(host, *port).await?;
                    let race = self.race().run(addresses, self.means.race_delay);
                    self.within(TimeoutKind::Connect, race).await
                }
            },
            Endpoint::Unix(path) => {
                let connecting = self.means.backend.connect_unix(path);
                let connected = self.within(TimeoutKind::Connect, connecting).await;
                connected.map(|outcome| {
                    outcome.map_err(|error| {
                        if RuntimeGone::is_behind(&error) {
                            return gone(&error, Phase::Connect);
                        }
                        Error::new(Kind::Connect, Phase::Connect, Sent::Nothing)
                            .with_message(format!("connecting to {} failed", path.display()))
                            .with_source(error)
                    })
                })
            }
        };
        connected.unwrap_or_else(|| Err(late(TimeoutKind::Connect)))
    }

    fn race(&self) -> race::Connecting<'_> {
        race::Connecting {
            backend: &self.means.backend,
            options: self.route.tcp(),
            trace: self.trace(),
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        self.trace()
            .emit(|| (self.now(), Event::ResolveStarted { host }));
        let lookup = self.means.backend.resolve(host, port);
        let addresses = self
            .within(TimeoutKind::Resolve, lookup)
            .await
            .ok_or_else(|| late(TimeoutKind::Resolve))?
            .map_err(|error| {
                Error::new(Kind::Resolve, Phase::Resolve, Sent::Nothing)
                    .with_message(format!("the addresses of {host} could not be found"))
                    .with_source(error)
            })?;
        self.trace().emit(|| {
            let addresses = &addresses;
            (self.now(), Event::Resolved { addresses })
        });
        if addresses.is_empty() {
            return Err(Error::new(Kind::Resolve, Phase::Resolve, Sent::Nothing)
                .with_message(format!("the host {host} has no addresses")));
        }
        Ok(addresses)
    }

    /// The stream on top, and which protocol was agreed on for it.
    async fn hop(&self, hop: &Hop, stream: BoxStream) -> Result<(BoxStream, Option<Alpn>), Error> {
        match hop {
            Hop::Tls { server_name, offer } => {
                let Some(tls) = self.tls_of(hop) else {
                    return Err(Error::new(Kind::Tls, Phase::Tls, Sent::Nothing)
                        .with_message("this pool was built without TLS"));
                };
                self.trace()
                    .emit(|| (self.now(), Event::TlsStarted { server_name }));
                let handshake = tls.handshake(stream, server_name, offer);
                let stream = self
                    .within(TimeoutKind::Tls, handshake)
                    .await
                    .ok_or_else(|| late(TimeoutKind::Tls))?
                    .map_err(refused)?;
                // Asked for once: it is a system call, and a copy of the certificates.
                let chosen = self.protected(offer, &stream.info())?;
                Ok((stream, chosen))
            }
            _ => Err(Error::new(Kind::Proxy, Phase::Proxy, Sent::Nothing)
                .with_message("this pool cannot go through proxies")),
        }
    }

    /// Who makes this handshake: the origin's may be of the request's choice.
    fn tls_of(&self, hop: &Hop) -> Option<&Arc<dyn TlsConnector>> {
        let is_origins = self
            .route
            .origins_tls()
            .is_some_and(|origins| std::ptr::eq(origins, hop));
        let choice = self.route.parts().tls.as_ref();
        choice
            .filter(|_| is_origins)
            .map(TlsChoice::connector)
            .or(self.means.tls.as_ref())
    }

    /// Looks at what a handshake has settled; which protocol was chosen.
    fn protected(&self, offer: &[Alpn], info: &StreamInfo) -> Result<Option<Alpn>, Error> {
        let Some(info) = &info.tls else {
            return Ok(None);
        };
        // RFC 7301 §3.1: the server chooses from what it was offered, or says nothing, which is
        // HTTP/1.1.
        if info.alpn.is_some_and(|chosen| !offer.contains(&chosen)) {
            return Err(Error::new(Kind::Tls, Phase::Tls, Sent::Nothing)
                .with_message("the server chose a protocol which was not offered"));
        }
        self.trace()
            .emit(|| (self.now(), Event::TlsEstablished { info }));
        Ok(info.alpn)
    }

    /// Runs one step under the limit of its phase, counted from now. Not an `async` function, which
    /// would keep the step twice.
    fn within<F: Future>(&self, limit: TimeoutKind, step: F) -> WithDeadline<F> {
        let timeouts = &self.terms.timeouts;
        let allowed = match limit {
            TimeoutKind::Resolve => timeouts.resolve(),
            TimeoutKind::Tls => timeouts.tls(),
            _ => timeouts.connect(),
        };
        let due = deadline(self.now(), allowed);
        with_deadline(&self.runtime(), "dial", due, step)
    }

    fn now(&self) -> Instant {
        self.means.backend.now()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.means.backend.clone()
    }

    fn trace(&self) -> &Trace {
        &self.terms.trace
    }
}

/// The time limit of a phase has passed.
fn late(limit: TimeoutKind) -> Error {
    let phase = match limit {
        TimeoutKind::Resolve => Phase::Resolve,
        TimeoutKind::Tls => Phase::Tls,
        _ => Phase::Connect,
    };
    Error::new(Kind::Timeout(limit), phase, Sent::Nothing)
}

/// Returns the error of a runtime that has ended, which is no fault of the network.
fn gone(error: &io::Error, phase: Phase) -> Error {
    Error::new(Kind::RuntimeGone, phase, Sent::Nothing).with_message(error.to_string())
}

/// Returns the error of a failed handshake. A name that no certificate can be for is the caller's
/// fault, and was not sent. A transport that broke is not a refusal: the same may work the next
/// time.
fn refused(error: io::Error) -> Error {
    if RuntimeGone::is_behind(&error) {
        return gone(&error, Phase::Tls);
    }
    let kind = match error.kind() {
        io::ErrorKind::InvalidInput => Kind::InvalidRequest,
        io::ErrorKind::UnexpectedEof => Kind::Closed,
        io::ErrorKind::InvalidData => Kind::Tls,
        _ if TlsFailure::is_behind(&error) => Kind::Tls,
        _ => Kind::Network,
    };
    Error::new(kind, Phase::Tls, Sent::Nothing).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::ErrorKind;

    #[test]
    fn a_handshake_that_is_refused_is_not_retryable_and_a_broken_transport_is() {
        let tls = |kind| TlsFailure::error(kind, "why");
        for (error, kind, retryable, connect) in [
            (tls(ErrorKind::InvalidData), Kind::Tls, false, true),
            (tls(ErrorKind::Other), Kind::Tls, false, true),
            (ErrorKind::InvalidData.into(), Kind::Tls, false, true),
            (
                tls(ErrorKind::InvalidInput),
                Kind::InvalidRequest,
                false,
                false,
            ),
            (tls(ErrorKind::UnexpectedEof), Kind::Closed, true, true),
            (ErrorKind::UnexpectedEof.into(), Kind::Closed, true, true),
            (ErrorKind::ConnectionReset.into(), Kind::Network, true, true),
            (ErrorKind::BrokenPipe.into(), Kind::Network, true, true),
            (RuntimeGone::error(), Kind::RuntimeGone, false, false),
        ] {
            let text = format!("{error:?}");
            let error = refused(error);
            assert_eq!(
                (error.kind(), error.is_retryable(), error.is_connect()),
                (kind, retryable, connect),
                "{text}"
            );
        }
    }

    #[test]
    fn a_loop_that_ends_during_a_handshake_is_named_and_tls_is_not_blamed() {
        let error = refused(RuntimeGone::error());
        assert_eq!(
            (error.kind(), error.phase()),
            (Kind::RuntimeGone, Phase::Tls)
        );
        assert_eq!(error.fault(), httpcore_core_primitives::Fault::Local);
    }
}
