//! `CONNECT` over HTTP/1.1 (RFC 9110 §9.3.6), as a machine.

use std::{fmt, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRANSFER_ENCODING},
    request,
};
use httpcore_core_primitives::{BodyLength, Credentials, base64};
use httpcore_proto_h1::codec::{Codec, Event, Limits, ProtocolError};

use crate::{
    error::{ProxyError, Refusal},
    negotiation::{Negotiation, Progress},
    target::Target,
};

/// Maximum number of bytes kept of the body of a refusal. The rest is not read.
pub const MAX_REFUSAL_BODY: usize = 64 * 1024;

/// Maximum number of times that a 407 is answered for one tunnel.
const MAX_ROUNDS: u32 = 3;

/// What a proxy demands with a 407 (RFC 9110 §11.7.1).
#[derive(Debug)]
#[non_exhaustive]
pub struct Challenge<'a> {
    /// The fields of the response, `Proxy-Authenticate` among them.
    pub headers: &'a HeaderMap,
    /// The method of the request: `CONNECT` for a tunnel, or that of a request to be forwarded.
    pub method: &'a Method,
    /// The target of the request, as it stands in the request line: what Digest signs.
    pub target: &'a str,
    /// How many challenges came before, for this tunnel or request: 0 for the first.
    pub round: u32,
}

impl<'a> Challenge<'a> {
    /// Returns the values of `Proxy-Authenticate`, in the order of the fields.
    pub fn values(&self) -> impl Iterator<Item = &'a HeaderValue> + use<'a> {
        self.headers.get_all(PROXY_AUTHENTICATE).iter()
    }
}

pub(crate) type Authenticate = dyn Fn(&Challenge<'_>) -> Option<HeaderValue> + Send + Sync;

/// Answers a proxy's challenges by the proxy's hook, at most three for one tunnel or request.
#[derive(Clone, Default)]
pub struct Challenges {
    authenticate: Option<Arc<Authenticate>>,
    answered: u32,
}

impl Challenges {
    pub(crate) fn new(authenticate: Option<Arc<Authenticate>>) -> Self {
        Challenges {
            authenticate,
            answered: 0,
        }
    }

    /// Returns the value of `Proxy-Authorization` for the next attempt at a request, or `None` if the response
    /// is final: it is not a 407, three have been answered, or the hook gives up.
    pub fn answer(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        method: &Method,
        target: &str,
    ) -> Option<HeaderValue> {
        if status != StatusCode::PROXY_AUTHENTICATION_REQUIRED || self.answered == MAX_ROUNDS {
            return None;
        }
        let authenticate = self.authenticate.as_ref()?;
        let mut answer = authenticate(&Challenge {
            headers,
            method,
            target,
            round: self.answered,
        })?;
        self.answered += 1;
        answer.set_sensitive(true);
        Some(answer)
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenges")
            .field("answered", &self.answered)
            .finish_non_exhaustive()
    }
}

/// What the head of a response to `CONNECT` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectDecision {
    /// The tunnel is open.
    Open,
    /// The challenge has been answered: [`Connect::request`] returns what is to be sent next.
    Again,
    /// The proxy refused. Its response may have a body.
    Refused,
}

/// A negotiation by `CONNECT`: any 2xx opens the tunnel, 1xx before it are skipped, and everything else
/// is a refusal.
///
/// A 407 is answered at most three times, on the same connection if the framing of the response
/// allows it. If not, or if the proxy closes the connection instead of answering, [`retry`](Self::retry)
/// yields the machine for a new connection.
///
/// Over HTTP/1.1 it is a [`Negotiation`]. Over HTTP/2 the request is a stream, whose frames are another
/// crate's: that sends [`request`](Self::request), and passes the head of the response to
/// [`decide`](Self::decide).
pub struct Connect {
    target: String,
    request: request::Parts,
    challenges: Challenges,
    codec: Codec,
    limits: Limits,
    output: BytesMut,
    refusal: Option<Refusal>,
    has_answer: bool,
}

impl Connect {
    /// Starts a negotiation for `target`.
    ///
    /// # Errors
    ///
    /// [`ProxyError::InvalidTarget`].
    pub fn new(target: &Target) -> Result<Self, ProxyError> {
        let target = target.to_string();
        let uri: Uri = target.parse().map_err(|_| ProxyError::InvalidTarget)?;
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = uri;
        let mut connect = Connect {
            target,
            request: request.into_parts().0,
            challenges: Challenges::default(),
            codec: Codec::default(),
            limits: Limits::default(),
            output: BytesMut::new(),
            refusal: None,
            has_answer: false,
        };
        connect.start()?;
        Ok(connect)
    }

    /// Sends `credentials` with the first request, as Basic (RFC 7617).
    ///
    /// # Errors
    ///
    /// [`ProxyError::InvalidCredentials`] if the user has a colon, or either part a control character
    /// (RFC 7617 §2).
    pub fn with_credentials(mut self, credentials: &Credentials) -> Result<Self, ProxyError> {
        let value = basic(credentials)?;
        self.request.headers.insert(PROXY_AUTHORIZATION, value);
        self.start()?;
        Ok(self)
    }

    /// Sends a field with each request to the proxy. It does not reach the origin.
    ///
    /// # Errors
    ///
    /// [`ProxyError::InvalidHeader`] for `Host` and for fields of framing.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, ProxyError> {
        if [HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
            return Err(ProxyError::InvalidHeader);
        }
        self.request.headers.append(name, value);
        self.start()?;
        Ok(self)
    }

    /// Answers a 407: `authenticate` returns the value of `Proxy-Authorization`, or `None` to give up.
    #[must_use]
    pub fn with_authentication(
        self,
        authenticate: impl Fn(&Challenge<'_>) -> Option<HeaderValue> + Send + Sync + 'static,
    ) -> Self {
        self.answering(Challenges::new(Some(Arc::new(authenticate))))
    }

    pub(crate) fn answering(mut self, challenges: Challenges) -> Self {
        self.challenges = challenges;
        self
    }

    /// Returns the request that is to be sent next, for a stream of HTTP/2 (RFC 9113 §8.5): the target as its
    /// URI, the fields for the proxy, and no body.
    pub fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = self.request.uri.clone();
        *request.headers_mut() = self.request.headers.clone();
        request
    }

    /// Decides by the head of the final response to [`request`](Self::request).
    pub fn decide(&mut self, head: Response<()>) -> ConnectDecision {
        if self.head(head).is_some() {
            return ConnectDecision::Open;
        }
        if !self.has_answer {
            return ConnectDecision::Refused;
        }
        self.refusal = None;
        // Its fields have been encoded before, and a hook returns one valid value: it does not fail.
        match self.start() {
            Ok(()) => ConnectDecision::Again,
            Err(_) => ConnectDecision::Refused,
        }
    }

    /// Returns the error of a response that [`decide`](Self::decide) found to be a refusal, with the first
    /// [`MAX_REFUSAL_BODY`] bytes of its body; `is_complete` says that `body` is all of it.
    pub fn refusal(&mut self, body: &[u8], is_complete: bool) -> ProxyError {
        match self.data(body) {
            Ok(()) => self.refused(is_complete),
            Err(refused) => refused,
        }
    }

    /// Returns the machine that goes on over a new connection, after this one has failed: if a 407 could
    /// be answered, and the connection with it could not be used again.
    pub fn retry(&self) -> Option<Self> {
        if !self.has_answer {
            return None;
        }
        let mut next = Connect {
            target: self.target.clone(),
            request: self.request.clone(),
            challenges: self.challenges.clone(),
            codec: Codec::default(),
            limits: self.limits,
            output: BytesMut::new(),
            refusal: None,
            has_answer: false,
        };
        next.start().ok()?;
        Some(next)
    }

    /// Writes the request anew. Nothing of it has been sent.
    fn start(&mut self) -> Result<(), ProxyError> {
        self.codec = Codec::new(self.limits);
        self.output.clear();
        self.codec
            .encode_head(&self.request, BodyLength::Known(0), &mut self.output)
            .map_err(|_| ProxyError::InvalidHeader)
    }

    fn head(&mut self, head: Response<()>) -> Option<Progress> {
        // RFC 9110 §9.3.6: any 2xx opens the tunnel, and its framing fields are ignored.
        if head.status().is_success() {
            self.has_answer = false;
            return Some(Progress::Done);
        }
        let (parts, ()) = head.into_parts();
        self.has_answer = false;
        let (status, fields) = (parts.status, &parts.headers);
        let answer = (self.challenges).answer(status, fields, &Method::CONNECT, &self.target);
        if let Some(answer) = answer {
            self.request.headers.insert(PROXY_AUTHORIZATION, answer);
            self.has_answer = true;
        }
        self.refusal = Some(Refusal {
            status: parts.status,
            headers: parts.headers,
            body: Bytes::new(),
            is_complete: false,
        });
        None
    }

    fn refused(&mut self, is_complete: bool) -> ProxyError {
        match self.refusal.take() {
            Some(mut refusal) => {
                refusal.is_complete = is_complete;
                ProxyError::Refused(Box::new(refusal))
            }
            None => ProxyError::Closed,
        }
    }

    /// The response is complete: it is answered on this connection, or is a refusal.
    fn end(&mut self, input: &[u8]) -> Result<Progress, ProxyError> {
        if self.has_answer && self.codec.can_reuse(input).is_ok() {
            self.refusal = None;
            self.start()?;
            return Ok(Progress::Pending);
        }
        Err(self.refused(true))
    }

    fn data(&mut self, data: &[u8]) -> Result<(), ProxyError> {
        let Some(refusal) = &mut self.refusal else {
            return Ok(());
        };
        let mut body = BytesMut::from(std::mem::take(&mut refusal.body));
        let room = MAX_REFUSAL_BODY - body.len();
        body.extend_from_slice(&data[..room.min(data.len())]);
        refusal.body = body.freeze();
        if data.len() > room {
            return Err(self.refused(false));
        }
        Ok(())
    }
}

impl Negotiation for Connect {
    fn output(&self) -> &[u8] {
        &self.output
    }

    fn advance(&mut self, written: usize) {
        self.output.advance(written);
    }

    fn receive(&mut self, input: &mut BytesMut, eof: bool) -> Result<Progress, ProxyError> {
        loop {
            match self.codec.decode(input, eof) {
                Ok(Some(Event::Informational(_))) => {}
                Ok(Some(Event::Head(head))) => {
                    if let Some(progress) = self.head(head) {
                        return Ok(progress);
                    }
                }
                Ok(Some(Event::Data(data))) => self.data(&data)?,
                Ok(Some(Event::Trailers(_))) => {}
                Ok(Some(Event::End)) => return self.end(input),
                Ok(None) if eof => return Err(self.refused(false)),
                Ok(None) => return Ok(Progress::Pending),
                // What is known of a refusal is worth more than that its body was cut short.
                Err(_) if self.refusal.is_some() => return Err(self.refused(false)),
                Err(ProtocolError::ClosedBeforeHead | ProtocolError::ClosedInHead) => {
                    return Err(ProxyError::Closed);
                }
                Err(violation) => return Err(ProxyError::Http(violation)),
            }
        }
    }
}

/// Prints no field: there may be credentials among them.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("target", &self.target)
            .field("challenges", &self.challenges)
            .finish_non_exhaustive()
    }
}

/// Returns the value of `Proxy-Authorization` for Basic (RFC 7617 §2), marked as sensitive.
pub(crate) fn basic(credentials: &Credentials) -> Result<HeaderValue, ProxyError> {
    let (user, password) = (credentials.user(), credentials.password());
    // RFC 7617 §2: a user with a colon cannot be told from its password.
    if user.contains(':') {
        return Err(ProxyError::InvalidCredentials("a colon in the user"));
    }
    if user.chars().chain(password.chars()).any(char::is_control) {
        return Err(ProxyError::InvalidCredentials("a control character"));
    }
    let encoded = base64::encode(format!("{user}:{password}").as_bytes());
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .map_err(|_| ProxyError::InvalidCredentials("a control character"))?;
    value.set_sensitive(true);
    Ok(value)
}
