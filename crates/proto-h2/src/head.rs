//! Heads: requests in the form of HTTP/2, and checks of responses that h2 does not make.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, request, uri,
};
use httpcore_core_primitives::{BodyLength, Protocol, RequestTarget};

/// A request that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The URI names no host, and no `Host` field does.
    #[error("the request names no host")]
    NoHost,
    /// There are several `Host` fields, or one that is not a host.
    #[error("the request's Host field is not a valid host")]
    Host,
    /// The URI has a scheme other than those of HTTP.
    #[error("the request's scheme is not http, https, ws or wss")]
    Scheme,
    /// The target of a `CONNECT` must be a host and a port (RFC 9113 §8.5).
    #[error("the target of CONNECT is not a host and a port (RFC 9113 §8.5)")]
    ConnectTarget,
    /// The target contains a byte that is not allowed there.
    #[error("the request target contains a byte that must be percent-encoded (RFC 9113 §8.3.1)")]
    Target,
    /// `Content-Length` is malformed, occurs several times, or is not the length of the body.
    #[error("the request's Content-Length is not its body's length (RFC 9110 §8.6)")]
    ContentLength,
    /// A transfer coding other than `chunked`: HTTP/2 has none (RFC 9113 §8.2.2).
    #[error("HTTP/2 has no transfer codings (RFC 9113 §8.2.2)")]
    TransferEncoding,
    /// The body is shorter than declared.
    #[error("the request's body is shorter than its Content-Length (RFC 9113 §8.1.1)")]
    BodyTooShort,
    /// The body is longer than declared.
    #[error("the request's body is longer than its Content-Length (RFC 9113 §8.1.1)")]
    BodyTooLong,
    /// A field that must not be a trailer (RFC 9110 §6.5.1).
    #[error("a field that must not be a trailer (RFC 9110 §6.5.1)")]
    Trailer,
    /// A [`Protocol`] without `CONNECT`, or a `GET` that becomes one (RFC 8441 §4).
    #[error("a Protocol needs the method CONNECT or GET (RFC 8441 §4)")]
    ProtocolWithoutConnect,
    /// The server does not support extended CONNECT (RFC 8441 §3).
    #[error("the server does not support extended CONNECT (RFC 8441 §3)")]
    ExtendedConnectUnsupported,
    /// h2 cannot encode this many fields.
    #[error("the request has more fields than can be encoded")]
    TooLarge,
    /// The request's version is 0.9.
    #[error("HTTP/0.9 requests are not supported")]
    Version,
    /// A [`RequestTarget`] that HTTP/2 cannot express: `:path` is an absolute path with a query, or
    /// `*` for `OPTIONS` (RFC 9113 §8.3.1).
    #[error("HTTP/2 cannot express this request target (RFC 9113 §8.3.1)")]
    TargetForm,
}

impl RequestError {
    /// Returns whether the body is at fault, and not the head.
    pub(crate) fn is_body(self) -> bool {
        matches!(
            self,
            RequestError::BodyTooShort | RequestError::BodyTooLong | RequestError::Trailer
        )
    }
}

/// A request's head, ready for h2.
pub(crate) struct Outgoing {
    pub(crate) head: Request<()>,
    /// Number of bytes of body that the head declares.
    pub(crate) length: Option<u64>,
    /// The body waits for `100 (Continue)`.
    pub(crate) expects_continue: bool,
}

/// Returns `request` in the form of HTTP/2 (RFC 9113 §8.3.1).
pub(crate) fn outgoing(
    request: &request::Parts,
    length: BodyLength,
) -> Result<Outgoing, RequestError> {
    if request.version == Version::HTTP_09 {
        return Err(RequestError::Version);
    }
    let mut head = Request::new(());
    *head.method_mut() = request.method.clone();
    *head.version_mut() = Version::HTTP_2;
    let protocol = request.extensions.get::<Protocol>();
    if let Some(protocol) = protocol {
        // RFC 8441 §5: a GET with Upgrade over HTTP/1.1 is a CONNECT here.
        if request.method != Method::CONNECT && request.method != Method::GET {
            return Err(RequestError::ProtocolWithoutConnect);
        }
        *head.method_mut() = Method::CONNECT;
        head.extensions_mut()
            .insert(h2::ext::Protocol::from(protocol.name()));
    }
    let is_tunnel = request.method == Method::CONNECT && protocol.is_none();
    *head.uri_mut() = target(request, is_tunnel)?;
    let known = match length {
        BodyLength::Known(length) => Some(length),
        BodyLength::Unknown => None,
    };
    let mut expects_continue = false;
    let mut said = None;
    if !request.headers.is_empty() {
        let fields = head.headers_mut();
        *fields = request.headers.clone();
        tidy(fields)?;
        if protocol.is_some() {
            // RFC 8441 §5: the stream replaces these.
            fields.remove(header::SEC_WEBSOCKET_KEY);
        }
        said = content_length(fields)?;
        expects_continue = fields
            .get(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    }
    match (said, known) {
        (Some(said), Some(known)) if said != known => return Err(RequestError::ContentLength),
        (None, Some(known)) if known > 0 || expects_content(&request.method) => {
            let value = HeaderValue::from(known);
            head.headers_mut().insert(header::CONTENT_LENGTH, value);
        }
        _ => {}
    }
    Ok(Outgoing {
        head,
        length: said.or(known),
        expects_continue: expects_continue && known != Some(0),
    })
}

/// RFC 9110 §8.6: a request without content declares that if its method expects content.
fn expects_content(method: &Method) -> bool {
    *method == Method::POST || *method == Method::PUT || *method == Method::PATCH
}

/// Returns what becomes `:scheme`, `:authority` and `:path`.
fn target(request: &request::Parts, is_tunnel: bool) -> Result<Uri, RequestError> {
    let url = &request.uri;
    let asked = asked_target(request, is_tunnel)?;
    let path = asked.as_ref().or(url.path_and_query());
    // `http` accepts bytes that a URL may not contain.
    if path.is_some_and(|path| !path.as_str().bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(RequestError::Target);
    }
    if is_tunnel {
        let authority = url.authority().ok_or(RequestError::ConnectTarget)?;
        if authority.port_u16().is_none() {
            return Err(RequestError::ConnectTarget);
        }
    }
    let (scheme, own_port) = match url.scheme_str() {
        Some("http" | "ws") => (uri::Scheme::HTTP, ":80"),
        Some("https" | "wss") => (uri::Scheme::HTTPS, ":443"),
        None if is_tunnel => (uri::Scheme::HTTPS, ":"),
        Some(_) => return Err(RequestError::Scheme),
        None => return Err(RequestError::NoHost),
    };
    let authority = authority(request, if is_tunnel { "@" } else { own_port })?;
    let starts_well = path.is_none_or(|path| path.as_str().starts_with(['/', '*']));
    if let Cow::Borrowed(_) = authority
        && !is_tunnel
        && starts_well
        && asked.is_none()
        && url.scheme() == Some(&scheme)
    {
        return Ok(url.clone());
    }
    let mut parts = uri::Parts::default();
    parts.authority = Some(
        uri::Authority::from_maybe_shared(Bytes::from(authority.into_owned().into_bytes()))
            .map_err(|_| RequestError::Host)?,
    );
    if !is_tunnel {
        parts.scheme = Some(scheme);
        parts.path_and_query = Some(match path {
            Some(path) if starts_well => path.clone(),
            // RFC 9113 §8.3.1: a path is never empty.
            Some(path) => {
                uri::PathAndQuery::from_maybe_shared(Bytes::from(format!("/{}", path.as_str())))
                    .map_err(|_| RequestError::Target)?
            }
            None => uri::PathAndQuery::from_static("/"),
        });
    }
    Uri::from_parts(parts).map_err(|_| RequestError::Target)
}

/// Returns the `:path` that the request's extensions set.
fn asked_target(
    request: &request::Parts,
    is_tunnel: bool,
) -> Result<Option<uri::PathAndQuery>, RequestError> {
    let asked = match request.extensions.get::<RequestTarget>() {
        // RFC 9113 §8.3.1: with `:scheme` and `:authority`, the target is always in absolute form.
        None | Some(RequestTarget::Absolute) => return Ok(None),
        Some(_) if is_tunnel => return Err(RequestError::TargetForm),
        Some(RequestTarget::Asterisk) => Bytes::from_static(b"*"),
        // RFC 9113 §8.3.1: `OPTIONS` without a path, which is how a proxy is sent `*`.
        Some(RequestTarget::Exact(target))
            if request.method == Method::OPTIONS && is_without_path(target, &request.uri) =>
        {
            Bytes::from_static(b"*")
        }
        Some(RequestTarget::Exact(target)) => target.clone(),
        Some(_) => return Err(RequestError::TargetForm),
    };
    if !asked.iter().all(u8::is_ascii_graphic) {
        return Err(RequestError::Target);
    }
    let is_path = asked.starts_with(b"/") && !asked.contains(&b'#');
    let is_asterisk = &*asked == b"*" && request.method == Method::OPTIONS;
    if !is_path && !is_asterisk {
        return Err(RequestError::TargetForm);
    }
    let path =
        uri::PathAndQuery::from_maybe_shared(asked.clone()).map_err(|_| RequestError::Target)?;
    // `http` would drop what it takes for a fragment.
    (path.as_str().as_bytes() == &*asked)
        .then_some(Some(path))
        .ok_or(RequestError::TargetForm)
}

/// Returns whether `target` is the scheme and authority of `url`, and nothing more.
fn is_without_path(target: &[u8], url: &Uri) -> bool {
    let scheme = url.scheme_str().unwrap_or_default().as_bytes();
    let rest = target.strip_prefix(scheme);
    let authority = rest.and_then(|rest| rest.strip_prefix(b"://"));
    authority.is_some_and(|authority| !authority.is_empty() && !authority.contains(&b'/'))
}

/// RFC 9113 §8.3.1: returns what `Host` would be. Borrowed, if the URL's authority is just that.
fn authority<'a>(
    request: &'a request::Parts,
    own_port: &str,
) -> Result<Cow<'a, str>, RequestError> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let said = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().map_err(|_| RequestError::Host)?),
        (Some(_), Some(_)) => return Err(RequestError::Host),
    };
    let of_url = request.uri.authority().map(uri::Authority::as_str);
    let host = match (said, of_url) {
        (Some(host), _) if host.is_empty() || host.contains('@') => return Err(RequestError::Host),
        (Some(host), _) => return Ok(Cow::Owned(host.to_owned())),
        (None, Some(host)) => host,
        (None, None) => return Err(RequestError::NoHost),
    };
    // RFC 9113 §8.3.1: no user information.
    let bare = host.rsplit('@').next().unwrap_or(host);
    // RFC 9110 §4.2.1, §4.2.2: the default port of a scheme is not written.
    let bare = bare.strip_suffix(own_port).unwrap_or(bare);
    let bare = bare.strip_suffix(':').unwrap_or(bare);
    if bare.is_empty() {
        return Err(RequestError::NoHost);
    }
    // RFC 9110 §4.2.3: a host is case-insensitive, and lower case is usual.
    if bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(Cow::Owned(bare.to_ascii_lowercase()));
    }
    if bare.len() == host.len() {
        return Ok(Cow::Borrowed(bare));
    }
    Ok(Cow::Owned(bare.to_owned()))
}

/// RFC 9113 §8.2.2: removes what concerns an HTTP/1.1 connection, and what has another form here.
fn tidy(fields: &mut HeaderMap) -> Result<(), RequestError> {
    fields.remove(header::HOST);
    if let Some(codings) = fields.remove(header::TRANSFER_ENCODING)
        && !codings.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Err(RequestError::TransferEncoding);
    }
    if fields.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = fields
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .filter(|name| *name != header::TE)
            .collect();
        for name in named {
            fields.remove(name);
        }
        fields.remove(header::CONNECTION);
    }
    fields.remove(header::UPGRADE);
    fields.remove("keep-alive");
    fields.remove("proxy-connection");
    fields.remove("http2-settings");
    // RFC 9113 §8.2.2: TE may be `trailers`, and nothing else.
    if fields.contains_key(header::TE) {
        let trailers = fields
            .get_all(header::TE)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"));
        fields.remove(header::TE);
        if trailers {
            fields.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
    // RFC 9113 §8.2.1: no white space around a value.
    trim(fields);
    Ok(())
}

/// RFC 9110 §8.6: one number.
fn content_length(fields: &HeaderMap) -> Result<Option<u64>, RequestError> {
    let mut values = fields.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let digits = value.as_bytes();
    if values.next().is_some() || digits.is_empty() {
        return Err(RequestError::ContentLength);
    }
    let number = digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    });
    number.map(Some).ok_or(RequestError::ContentLength)
}

/// RFC 9110 §6.5.1, RFC 9113 §8.1: refuses fields that must not be trailers.
pub(crate) fn check_trailers(trailers: &HeaderMap) -> Result<(), RequestError> {
    const FORBIDDEN: [HeaderName; 9] = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::HOST,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
    ];
    let bad = FORBIDDEN.iter().any(|name| trailers.contains_key(name))
        || trailers.contains_key("keep-alive")
        || trailers.contains_key("proxy-connection");
    if bad {
        Err(RequestError::Trailer)
    } else {
        Ok(())
    }
}

/// RFC 9113 §8.2.1 has a value with white space around it refused; h2 accepts it, and real servers
/// send it. It is removed, and never delivered.
pub(crate) fn trim(fields: &mut HeaderMap) {
    for value in fields.values_mut() {
        trim_value(value);
    }
}

fn trim_value(value: &mut HeaderValue) {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = value.as_bytes();
    if !is_space(bytes.first()) && !is_space(bytes.last()) {
        return;
    }
    let is_sensitive = value.is_sensitive();
    if let Ok(mut trimmed) = HeaderValue::from_bytes(bytes.trim_ascii()) {
        trimmed.set_sensitive(is_sensitive);
        *value = trimmed;
    }
}

/// RFC 9110 §8.6: returns whether a length is empty, which h2 takes for 0.
pub(crate) fn has_empty_length(fields: &HeaderMap) -> bool {
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    lengths.any(HeaderValue::is_empty)
}

/// Returns the size of fields, as RFC 9113 §6.5.2 counts.
pub(crate) fn list_size(fields: &HeaderMap) -> u64 {
    fields
        .iter()
        .map(|(name, value)| OVERHEAD + (name.as_str().len() + value.len()) as u64)
        .sum()
}

/// Size of a field besides its name and value, as RFC 9113 §6.5.2 counts.
const OVERHEAD: u64 = 32;

/// Returns the size of a response's head, its status included.
pub(crate) fn response_size(fields: &HeaderMap) -> u64 {
    OVERHEAD + ":status200".len() as u64 + list_size(fields)
}

/// Returns the size of a request's head, pseudo-header fields included.
pub(crate) fn request_size(head: &Request<()>) -> u64 {
    let url = head.uri();
    let protocol = head.extensions().get::<h2::ext::Protocol>();
    let pseudo = [
        (":method", Some(head.method().as_str())),
        (":scheme", url.scheme_str()),
        (":authority", url.authority().map(uri::Authority::as_str)),
        (":path", url.path_and_query().map(uri::PathAndQuery::as_str)),
        (":protocol", protocol.map(h2::ext::Protocol::as_str)),
    ];
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| {
        let value = value?;
        Some(OVERHEAD + (name.len() + value.len()) as u64)
    });
    pseudo.sum::<u64>() + list_size(head.headers())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(request: request::Builder, length: BodyLength) -> Result<Outgoing, RequestError> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        outgoing(&parts, length)
    }

    fn get(url: &str) -> request::Builder {
        Request::get(url)
    }

    const NONE: BodyLength = BodyLength::Known(0);

    #[test]
    fn what_concerns_a_connection_is_left_out() {
        let request = get("http://a.test/")
            .header("connection", "close, x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-connection", "keep-alive")
            .header("upgrade", "h2c")
            .header("http2-settings", "AAAA")
            .header("transfer-encoding", "chunked")
            .header("te", "gzip, trailers")
            .header("x-stays", " yes ");
        let fields = head(request, NONE).map(|out| out.head.headers().clone());
        let fields = fields.unwrap();
        assert_eq!(fields.len(), 2, "{fields:?}");
        assert_eq!(fields["te"], "trailers");
        assert_eq!(fields["x-stays"], "yes");
    }

    #[test]
    fn the_authority_is_what_host_would_say() {
        for (url, host, authority) in [
            ("http://a.test/x", None, "a.test"),
            ("http://user:pw@A.test:80/x", None, "a.test"),
            ("https://a.test:443/x", None, "a.test"),
            ("https://a.test:80/x", None, "a.test:80"),
            ("https://[::1]:8443/x", None, "[::1]:8443"),
            ("http://a.test/x", Some("b.test:81"), "b.test:81"),
        ] {
            let mut request = get(url);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let out = head(request, NONE).unwrap();
            let uri = out.head.uri();
            assert_eq!(uri.authority().unwrap().as_str(), authority, "{url}");
            assert_eq!(uri.path(), "/x", "{url}");
            assert!(out.head.headers().is_empty(), "{url}");
        }
    }

    #[test]
    fn targets_of_all_kinds() {
        let uri =
            |request: request::Builder| head(request, NONE).map(|out| out.head.uri().to_string());
        assert_eq!(uri(get("http://a.test?q")).unwrap(), "http://a.test/?q");
        assert_eq!(uri(get("wss://a.test/c")).unwrap(), "https://a.test/c");
        assert_eq!(uri(get("/only")).unwrap_err(), RequestError::NoHost);
        assert_eq!(uri(get("ftp://a.test/")).unwrap_err(), RequestError::Scheme);
        assert_eq!(uri(Request::connect("a.test:443")).unwrap(), "a.test:443");
        let without_port = uri(Request::connect("a.test"));
        assert_eq!(without_port.unwrap_err(), RequestError::ConnectTarget);
        let chat = Protocol::new("websocket");
        let chat = Request::connect("https://a.test/chat").extension(chat);
        assert_eq!(uri(chat).unwrap(), "https://a.test/chat");
        let upgrade = get("https://a.test/chat")
            .extension(Protocol::new("websocket"))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEC==")
            .header("sec-websocket-version", "13");
        let upgrade = head(upgrade, NONE).unwrap().head;
        assert_eq!(upgrade.method(), Method::CONNECT);
        assert_eq!(upgrade.headers().len(), 1, "{upgrade:?}");
        let wrong = Request::put("https://a.test/chat").extension(Protocol::new("websocket"));
        assert_eq!(
            uri(wrong).unwrap_err(),
            RequestError::ProtocolWithoutConnect
        );
    }

    #[test]
    fn a_target_becomes_the_path_or_is_refused_by_name() {
        let exact =
            |target: &'static str| RequestTarget::Exact(Bytes::from_static(target.as_bytes()));
        let (url, get, options) = ("http://a.test/x?y", Method::GET, Method::OPTIONS);
        let form = Err(RequestError::TargetForm);
        for (method, url, target, path) in [
            (&get, url, exact("/other?z"), Ok("/other?z")),
            (&get, url, exact("/%%//x"), Ok("/%%//x")),
            (&get, url, exact("/<>"), Err(RequestError::Target)),
            (&get, url, exact("//a/../b"), Ok("//a/../b")),
            (&options, url, RequestTarget::Asterisk, Ok("*")),
            (&options, url, exact("*"), Ok("*")),
            (&get, url, RequestTarget::Absolute, Ok("/x?y")),
            (&get, url, RequestTarget::Asterisk, form),
            (&get, url, exact("*"), form),
            (&options, url, exact("http://a.test"), Ok("*")),
            (&options, url, exact("http://a.test/"), form),
            (&get, url, exact("http://a.test"), form),
            (&options, url, exact("*x"), form),
            (&get, url, exact("http://a.test/x"), form),
            (&get, url, exact("x"), form),
            (&get, url, exact("/x#y"), form),
            (&get, url, exact(""), form),
            (&Method::CONNECT, "a.test:443", exact("b.test:443"), form),
            (&get, url, exact("/ x"), Err(RequestError::Target)),
            (&get, url, exact("/\r\nx: y"), Err(RequestError::Target)),
        ] {
            let request = get_of(method, url).extension(target.clone());
            let out = head(request, NONE);
            let said = out.map(|out| out.head.uri().path_and_query().unwrap().to_string());
            assert_eq!(
                said.as_deref().map_err(|wrong| *wrong),
                path,
                "{method} {target:?}"
            );
        }
    }

    fn get_of(method: &Method, url: &str) -> request::Builder {
        Request::builder().method(method).uri(url)
    }

    #[test]
    fn white_space_around_values_is_left_out() {
        for (value, clean) in [
            (" 1", "1"),
            ("1\t ", "1"),
            (" \t", ""),
            ("a b", "a b"),
            ("", ""),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert("x", HeaderValue::from_str(value).unwrap());
            trim(&mut fields);
            assert_eq!(fields["x"], clean, "{value:?}");
        }
    }

    #[test]
    fn lengths_agree_or_the_request_is_refused() {
        let said = |method: Method, said: &[&str], length| {
            let mut request = get("http://a.test/").method(method);
            for value in said {
                request = request.header("content-length", *value);
            }
            let out = head(request, length)?;
            let sent = out.head.headers().get("content-length");
            Ok(sent.map(|value| value.to_str().unwrap().to_owned()))
        };
        let known = BodyLength::Known;
        let fine = |length: &str| Ok(Some(length.to_owned()));
        assert_eq!(said(Method::GET, &[], known(0)), Ok(None));
        assert_eq!(said(Method::POST, &[], known(0)), fine("0"));
        assert_eq!(said(Method::GET, &[], known(3)), fine("3"));
        assert_eq!(said(Method::POST, &["3"], known(3)), fine("3"));
        assert_eq!(said(Method::POST, &["7"], BodyLength::Unknown), fine("7"));
        assert_eq!(said(Method::POST, &[], BodyLength::Unknown), Ok(None));
        for (wrong, length) in [
            (&["4"][..], known(3)),
            (&["3", "3"], known(3)),
            (&["+3"], known(3)),
            (&[""], known(0)),
            (&["99999999999999999999"], BodyLength::Unknown),
        ] {
            let refused = said(Method::POST, wrong, length);
            assert_eq!(refused, Err(RequestError::ContentLength), "{wrong:?}");
        }
    }

    #[test]
    fn the_size_of_a_head_includes_what_is_no_field() {
        let out = head(get("http://a.test/x?y").header("a", "b"), NONE).unwrap();
        // :method GET, :scheme http, :authority a.test, :path /x?y, a: b
        let letters = (7 + 3) + (7 + 4) + (10 + 6) + (5 + 4) + (1 + 1);
        assert_eq!(request_size(&out.head), letters + 5 * 32);
        let tunnel = Request::connect("a.test:443");
        let out = head(tunnel, NONE).unwrap();
        assert_eq!(request_size(&out.head), (7 + 7) + (10 + 10) + 2 * 32);
        assert_eq!(response_size(&HeaderMap::new()), 7 + 3 + 32);
    }
}
