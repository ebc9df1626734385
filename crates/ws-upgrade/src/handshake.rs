//! The opening handshake and the verification of its response.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version,
    header::{
        CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    uri::PathAndQuery,
};
use httpcore_core_primitives::{
    BoxError, Error, ErrorKind, ErrorPhase, Origin, Protocol, RejectedResponse, Request,
    RequestSent, Response, Upgraded, base64,
};

use crate::{
    accept::{accept_for, random_key},
    extensions::{self, Extension, is_token},
    refusal::{OpenError, Violation},
};

/// Header fields that the handshake sets itself.
const OURS: [HeaderName; 7] = [
    CONNECTION,
    UPGRADE,
    SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
];

/// An opening handshake (RFC 6455 §4.1).
///
/// Invalid values (a URL, a subprotocol with a space) make [`into_request`](Self::into_request) and
/// [`open`](Self::open) fail.
///
/// ```
/// use httpcore_core_primitives::Timeouts;
/// use httpcore_ws_upgrade::Handshake;
/// use std::time::Duration;
///
/// let handshake = Handshake::new("wss://localhost/feed?since=7")
///     .subprotocol("feed.v2")
///     .header("origin", "https://localhost")
///     .option(Timeouts::default().with_response_head(Duration::from_secs(10)));
/// let (request, _check) = handshake.into_request()?;
/// assert_eq!(request.uri(), "https://localhost/feed?since=7");
/// # Ok::<(), httpcore_core_primitives::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Handshake(Result<Asked, Error>);

#[derive(Debug)]
struct Asked {
    url: Uri,
    fields: HeaderMap,
    options: http::Extensions,
    subprotocols: Vec<String>,
    extensions: Vec<Extension>,
    /// As given by the caller.
    offers: Vec<HeaderValue>,
    key: Option<[u8; 16]>,
}

impl Handshake {
    /// Returns a handshake for `url`: `ws://…` or `wss://…`; `http` and `https` mean the same.
    pub fn new<U>(url: U) -> Self
    where
        U: TryInto<Uri>,
        U::Error: Into<BoxError>,
    {
        let url = url.try_into().map_err(|error| {
            Error::new(
                ErrorKind::InvalidUrl,
                ErrorPhase::Request,
                RequestSent::None,
            )
            .with_message("invalid URL")
            .with_source(error)
        });
        Handshake(url.and_then(|url| {
            Ok(Asked {
                url: as_http(url)?,
                fields: HeaderMap::new(),
                options: http::Extensions::new(),
                subprotocols: Vec::new(),
                extensions: Vec::new(),
                offers: Vec::new(),
                key: None,
            })
        }))
    }

    /// Offers a subprotocol, after those offered before: the server selects one of them, or none.
    pub fn subprotocol(self, name: impl Into<String>) -> Self {
        self.and_then(|asked| {
            let name = name.into();
            // RFC 6455 §4.1: tokens, none of them twice.
            if !is_token(name.as_bytes()) || asked.subprotocols.contains(&name) {
                return Err(invalid("invalid or repeated subprotocol"));
            }
            asked.subprotocols.push(name);
            Ok(())
        })
    }

    /// Offers an extension in its wire format: `permessage-deflate; client_max_window_bits`.
    /// The caller has to implement what it offers.
    pub fn extension(self, offer: &str) -> Self {
        self.and_then(|asked| {
            let value = HeaderValue::from_str(offer)
                .map_err(|error| invalid("invalid extension").with_source(error))?;
            match extensions::parse([&value]) {
                Some(read) if !read.is_empty() => asked.extensions.extend(read),
                _ => return Err(invalid("invalid extension")),
            }
            asked.offers.push(value);
            Ok(())
        })
    }

    /// Adds a header field: `Origin`, `Authorization`, `Cookie`. Fields of the handshake itself are
    /// rejected.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        N::Error: Into<BoxError>,
        V: TryInto<HeaderValue>,
        V::Error: Into<BoxError>,
    {
        self.and_then(|asked| {
            let unwritable = |error: BoxError| invalid("invalid header field").with_source(error);
            let name = name.try_into().map_err(|error| unwritable(error.into()))?;
            let value = value.try_into().map_err(|error| unwritable(error.into()))?;
            if OURS.contains(&name) {
                return Err(invalid("header field is set by the handshake"));
            }
            asked.fields.append(name, value);
            Ok(())
        })
    }

    /// Adds a value to the request's [`http::Extensions`]: time limits, a listener.
    pub fn option<T: Clone + Send + Sync + 'static>(self, option: T) -> Self {
        self.and_then(|asked| {
            asked.options.insert(option);
            Ok(())
        })
    }

    /// Sets the key instead of a random one, for tests that compare requests.
    pub fn key(self, key: [u8; 16]) -> Self {
        self.and_then(|asked| {
            asked.key = Some(key);
            Ok(())
        })
    }

    /// Returns the request, and the check for its response.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`], [`ErrorKind::UnsupportedScheme`], and [`ErrorKind::InvalidRequest`] for
    /// invalid values, and if the operating system provides no random numbers for the key.
    pub fn into_request(self) -> Result<(Request, ResponseCheck), Error> {
        let asked = self.0?;
        let key = match asked.key {
            Some(key) => key,
            None => random_key().map_err(|error| {
                Error::new(
                    ErrorKind::InvalidRequest,
                    ErrorPhase::Request,
                    RequestSent::None,
                )
                .with_message("cannot get random numbers from the operating system")
                .with_source(error)
            })?,
        };
        let key = base64::encode(&key);
        let mut request = Request::default();
        *request.uri_mut() = asked.url;
        *request.extensions_mut() = asked.options;
        // RFC 8441 §5: over HTTP/2, what is a GET here is a CONNECT for this protocol.
        request.extensions_mut().insert(Protocol::new("websocket"));
        let fields = request.headers_mut();
        *fields = asked.fields;
        fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        fields.insert(SEC_WEBSOCKET_KEY, written(&key)?);
        if !asked.subprotocols.is_empty() {
            let list = written(&asked.subprotocols.join(", "))?;
            fields.insert(SEC_WEBSOCKET_PROTOCOL, list);
        }
        for offer in asked.offers {
            fields.append(SEC_WEBSOCKET_EXTENSIONS, offer);
        }
        let expected = ResponseCheck {
            accept: accept_for(&key),
            subprotocols: asked.subprotocols,
            extensions: asked.extensions,
        };
        Ok((request, expected))
    }

    /// Performs the handshake with `send`: `|request| pool.request(request)`.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. Dropping the future drops that of `send`, and with it the exchange.
    pub async fn open<F>(
        self,
        send: impl FnOnce(Request) -> F,
    ) -> Result<WebSocketStream, OpenError>
    where
        F: Future<Output = Result<Response, Error>>,
    {
        let (request, expected) = self.into_request()?;
        expected.verify(send(request).await?)
    }

    fn and_then(self, change: impl FnOnce(&mut Asked) -> Result<(), Error>) -> Self {
        Handshake(self.0.and_then(|mut asked| {
            change(&mut asked)?;
            Ok(asked)
        }))
    }
}

/// Verifies the response to a [`Handshake`].
#[derive(Clone, Debug)]
pub struct ResponseCheck {
    accept: String,
    subprotocols: Vec<String>,
    extensions: Vec<Extension>,
}

/// An opened WebSocket, and the result of its handshake.
#[derive(Debug)]
#[non_exhaustive]
pub struct WebSocketStream {
    /// The stream, from the first byte after the response. It holds its slot in the pool until it is
    /// dropped.
    pub stream: Upgraded,
    /// The selected subprotocol.
    pub subprotocol: Option<String>,
    /// The extensions in use.
    pub extensions: Vec<Extension>,
    /// The head of the response.
    pub response: http::Response<()>,
}

impl WebSocketStream {
    /// Returns the messages of this WebSocket, with default limits. For others, give
    /// [`stream`](Self::stream) to [`WebSocket::new`](crate::WebSocket::new).
    #[cfg(feature = "messages")]
    pub fn into_messages(self) -> crate::WebSocket {
        crate::WebSocket::new(self.stream, crate::Config::default())
    }
}

impl ResponseCheck {
    /// Verifies the response to the request.
    ///
    /// # Errors
    ///
    /// [`OpenError::Refused`] with the response, if it does not accept;
    /// [`OpenError::Violation`] if it accepts invalidly, and the connection is closed.
    pub fn verify(&self, mut response: Response) -> Result<WebSocketStream, OpenError> {
        let accepted = match response.version() {
            // RFC 8441 §5: a 2xx; HTTP/2 needs no further proof.
            Version::HTTP_2 | Version::HTTP_3 => response.status().is_success(),
            // RFC 6455 §4.1 (1): any other status is handled as HTTP has it.
            _ => response.status() == StatusCode::SWITCHING_PROTOCOLS,
        };
        let stream = match Upgraded::take_from(&mut response) {
            Some(stream) if accepted => stream,
            None if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(OpenError::Violation(Violation::NoStream));
            }
            _ => return Err(OpenError::Refused(RejectedResponse::new(response))),
        };
        let response = response.map(drop);
        let agreed = self.check(&response).map_err(OpenError::Violation)?;
        let (subprotocol, extensions) = agreed;
        Ok(WebSocketStream {
            stream,
            subprotocol,
            extensions,
            response,
        })
    }

    fn check(
        &self,
        response: &http::Response<()>,
    ) -> Result<(Option<String>, Vec<Extension>), Violation> {
        let fields = response.headers();
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // RFC 6455 §4.1 (2): `Upgrade` says websocket, in letters of any case.
            match only(fields, &UPGRADE) {
                Some(value) if value.eq_ignore_ascii_case("websocket") => {}
                _ => return Err(Violation::Upgrade),
            }
            // RFC 6455 §4.1 (3): `Connection` has the token Upgrade, in letters of any case.
            let has_upgrade = fields.get_all(CONNECTION).iter().any(|value| {
                let options = value.as_bytes().split(|&byte| byte == b',');
                let mut options = options.map(<[u8]>::trim_ascii);
                options.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
            });
            if !has_upgrade {
                return Err(Violation::Connection);
            }
            // RFC 6455 §4.1 (4): the proof; §11.3.3: once.
            if only(fields, &SEC_WEBSOCKET_ACCEPT) != Some(&self.accept) {
                return Err(Violation::Accept);
            }
        }
        // RFC 6455 §4.1 (5): no extension but those offered.
        let values = fields.get_all(SEC_WEBSOCKET_EXTENSIONS);
        let extensions = extensions::parse(&values).ok_or(Violation::Extension)?;
        let offered = |one: &Extension| self.extensions.iter().any(|other| other.name == one.name);
        if !extensions.iter().all(offered) {
            return Err(Violation::Extension);
        }
        // RFC 6455 §4.1 (6): no subprotocol but one of those offered; §11.3.4: one.
        let subprotocol = match fields.contains_key(SEC_WEBSOCKET_PROTOCOL) {
            false => None,
            true => {
                let chosen = only(fields, &SEC_WEBSOCKET_PROTOCOL);
                let known = self.subprotocols.iter();
                let mut known = known.filter(|known| chosen == Some(known.as_str()));
                Some(known.next().ok_or(Violation::Subprotocol)?.clone())
            }
        };
        Ok((subprotocol, extensions))
    }
}

/// Returns the trimmed value of a field that is present exactly once.
fn only<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = fields.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    Some(value.to_str().ok()?.trim_matches([' ', '\t']))
}

/// RFC 6455 §3: `ws` is asked for over HTTP, and `wss` over HTTPS. Said so, their requests share
/// the connections of others.
fn as_http(url: Uri) -> Result<Uri, Error> {
    let scheme = if Origin::of(&url)?.scheme().is_secure() {
        http::uri::Scheme::HTTPS
    } else {
        http::uri::Scheme::HTTP
    };
    let mut parts = url.into_parts();
    parts.scheme = Some(scheme);
    parts.path_and_query = parts
        .path_and_query
        .or(Some(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).map_err(|error| {
        Error::new(
            ErrorKind::InvalidUrl,
            ErrorPhase::Request,
            RequestSent::None,
        )
        .with_message("invalid URL")
        .with_source(error)
    })
}

fn written(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|error| invalid("invalid header field").with_source(error))
}

fn invalid(why: &'static str) -> Error {
    Error::new(
        ErrorKind::InvalidRequest,
        ErrorPhase::Request,
        RequestSent::None,
    )
    .with_message(why)
}
