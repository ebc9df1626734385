//! Heads of requests, and trailers: from fields to bytes.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, Method, Uri, Version, header, request, uri::Scheme};
use httpcore_core_primitives::{ConnectionPolicy, RequestTarget};

use super::{
    error::RequestError,
    framing::{FramingHeaders, RequestFraming},
    header_case::{HeaderOrder, Spelled, write_field},
};

/// Writes the head of `request` to `out`, or nothing.
pub(super) fn write(
    request: &request::Parts,
    fields: &FramingHeaders<'_>,
    framing: RequestFraming,
    out: &mut BytesMut,
) -> Result<(), RequestError> {
    let start = out.len();
    let written = write_all(request, fields, framing, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn write_all(
    request: &request::Parts,
    fields: &FramingHeaders<'_>,
    framing: RequestFraming,
    out: &mut BytesMut,
) -> Result<(), RequestError> {
    let version: &[u8] = match request.version {
        Version::HTTP_10 => b" HTTP/1.0\r\n",
        Version::HTTP_09 => return Err(RequestError::Version),
        // The request's version, if it is later, has no effect: a gateway passes on the version of
        // its own client, and the version spoken here is agreed with the server.
        _ => b" HTTP/1.1\r\n",
    };
    if request.method == Method::GET {
        out.extend_from_slice(b"GET ");
    } else {
        out.extend_from_slice(request.method.as_str().as_bytes());
        out.extend_from_slice(b" ");
    }
    write_target(request, out)?;
    out.extend_from_slice(version);
    if let Some(order) = request.extensions.get::<HeaderOrder>() {
        write_in_order(order, request, fields, framing, out)?;
    } else {
        // RFC 9110 §7.2: Host is the first field.
        out.extend_from_slice(b"host: ");
        write_host(request, fields, out)?;
        out.extend_from_slice(b"\r\n");
        for (name, value) in &request.headers {
            if !is_ours(name) {
                write_field(name.as_str().as_bytes(), value.as_bytes(), out);
            }
        }
        write_framing(framing, None, out);
    }
    // RFC 9112 §9.6: a client that will not use the connection again sends `close`.
    if closes_after(request) && !fields.connection.close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Host is checked, and the framing fields are written separately.
fn is_ours(name: &HeaderName) -> bool {
    *name == header::HOST || *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING
}

fn write_in_order(
    order: &HeaderOrder,
    request: &request::Parts,
    fields: &FramingHeaders<'_>,
    framing: RequestFraming,
    out: &mut BytesMut,
) -> Result<(), RequestError> {
    let framing_field = framing.field();
    let mut host = BytesMut::new();
    write_host(request, fields, &mut host)?;
    if !order.names(&header::HOST) {
        write_field(b"host", &host, out);
    }
    for Spelled {
        name,
        original_case,
        before,
        is_last,
    } in order.iter()
    {
        if !is_ours(name) {
            let values = request.headers.get_all(name).iter().skip(*before);
            for value in values.take(if *is_last { usize::MAX } else { 1 }) {
                write_field(original_case, value.as_bytes(), out);
            }
        } else if *before > 0 {
            // However often these are named, they are written once.
        } else if *name == header::HOST {
            write_field(original_case, &host, out);
        } else if framing_field == Some(name) {
            write_framing(framing, Some(original_case), out);
        }
    }
    for (name, value) in &request.headers {
        if !is_ours(name) && !order.names(name) {
            write_field(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }
    if framing_field.is_some_and(|name| !order.names(name)) {
        write_framing(framing, None, out);
    }
    Ok(())
}

/// Writes the framing field, if there is one, with the name in `letters` if that is given.
fn write_framing(framing: RequestFraming, original_case: Option<&[u8]>, out: &mut BytesMut) {
    let Some(name) = framing.field() else {
        return;
    };
    out.extend_from_slice(original_case.unwrap_or(name.as_str().as_bytes()));
    out.extend_from_slice(b": ");
    match framing {
        RequestFraming::None => {}
        RequestFraming::Length(length) => write_decimal(length, out),
        RequestFraming::Chunked => out.extend_from_slice(b"chunked"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Returns whether the request's extensions ask for a connection that serves no other request.
pub(super) fn closes_after(request: &request::Parts) -> bool {
    let settings = request.extensions.get::<ConnectionPolicy>();
    settings.is_some_and(|settings| settings.close_after)
}

fn write_target(request: &request::Parts, out: &mut BytesMut) -> Result<(), RequestError> {
    let start = out.len();
    let url = &request.uri;
    match request.extensions.get::<RequestTarget>() {
        Some(RequestTarget::Exact(target)) => out.extend_from_slice(target),
        Some(RequestTarget::Asterisk) => out.extend_from_slice(b"*"),
        // RFC 9112 §3.2.3: host and port, the default port included.
        None | Some(RequestTarget::Absolute) if request.method == Method::CONNECT => {
            let authority = url.authority().ok_or(RequestError::ConnectTarget)?;
            if authority.port_u16().is_none() {
                return Err(RequestError::ConnectTarget);
            }
            out.extend_from_slice(without_user(authority.as_str()).as_bytes());
        }
        // RFC 9112 §3.2.2
        Some(RequestTarget::Absolute) => {
            let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
                return Err(RequestError::NoHost);
            };
            out.extend_from_slice(scheme.as_bytes());
            out.extend_from_slice(b"://");
            out.extend_from_slice(without_user(authority.as_str()).as_bytes());
            write_path(url, out);
        }
        // RFC 9112 §3.2.1
        None => write_path(url, out),
        Some(_) => return Err(RequestError::Target),
    }
    // `http` accepts bytes that a URL may not contain; and `Exact` is arbitrary.
    let target = &out[start..];
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(RequestError::Target);
    }
    Ok(())
}

/// Returns path and query unchanged; an empty path is `/` (RFC 9112 §3.2.1). `http` keeps no
/// fragment.
fn write_path(url: &Uri, out: &mut BytesMut) {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    if path.starts_with('?') {
        out.extend_from_slice(b"/");
    }
    out.extend_from_slice(path.as_bytes());
}

/// RFC 9110 §4.2.4: user information is never sent.
fn without_user(authority: &str) -> &str {
    match authority.bytes().rposition(|byte| byte == b'@') {
        Some(at) => &authority[at + 1..],
        None => authority,
    }
}

/// RFC 9112 §3.2: exactly one `Host`. The caller's, if there is one, else the URL's.
fn write_host(
    request: &request::Parts,
    fields: &FramingHeaders<'_>,
    out: &mut BytesMut,
) -> Result<(), RequestError> {
    let start = out.len();
    if fields.several_hosts {
        return Err(RequestError::SeveralHosts);
    }
    let is_good = if let Some(host) = fields.host {
        out.extend_from_slice(host.as_bytes());
        host.as_bytes()
            .iter()
            .all(|&byte| in_host(byte) != NOT_IN_HOST)
    } else {
        let authority = request.uri.authority().ok_or(RequestError::NoHost)?;
        let host = match tunnel_end(request) {
            Some(target) => target,
            None => host_field(request, authority.as_str()),
        };
        // User information is rare, and its `@` is no byte of a host: searched for on failure only.
        let is_good = write_lower(host, out) || {
            out.truncate(start);
            write_lower(without_user(host), out)
        };
        if out.len() == start {
            return Err(RequestError::NoHost);
        }
        is_good
    };
    is_good.then_some(()).ok_or(RequestError::Host)
}

/// RFC 9110 §4.2.3: a host is case-insensitive, and lower case is usual. Returns whether all bytes
/// may occur in a host.
fn write_lower(host: &str, out: &mut BytesMut) -> bool {
    let start = out.len();
    out.extend_from_slice(host.as_bytes());
    let mut seen = 0;
    for byte in &mut out[start..] {
        *byte = in_host(*byte);
        seen |= *byte;
    }
    seen & NOT_IN_HOST == 0
}

/// RFC 9112 §3.2.3: for CONNECT, `Host` is the target; where the URL names the proxy, that is an
/// exact one.
fn tunnel_end(request: &request::Parts) -> Option<&str> {
    if request.method != Method::CONNECT {
        return None;
    }
    match request.extensions.get()? {
        RequestTarget::Exact(target) => std::str::from_utf8(target).ok(),
        _ => None,
    }
}

/// Returns the part of a URL's `host`, its port included, that a `Host` field has.
fn host_field<'a>(request: &request::Parts, host: &'a str) -> &'a str {
    // RFC 9112 §3.2.3: for CONNECT, the same as the target.
    if request.method == Method::CONNECT {
        return host;
    }
    // RFC 9110 §4.2.1, §4.2.2: the default port of a scheme is not written.
    let without_port = match request.uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP || scheme == "ws" => host.strip_suffix(":80"),
        Some(scheme) if *scheme == Scheme::HTTPS || scheme == "wss" => host.strip_suffix(":443"),
        _ => None,
    };
    // RFC 3986 §3.2.3: nor is an empty one.
    let host = without_port.unwrap_or(host);
    host.strip_suffix(':').unwrap_or(host)
}

/// A value that no byte of a host has, since all of these are ASCII.
const NOT_IN_HOST: u8 = 0x80;

/// Returns the byte in lower case, if it may occur in a host with its port, else [`NOT_IN_HOST`] (RFC 3986
/// §3.2.2, §3.2.3).
fn in_host(byte: u8) -> u8 {
    const IN_HOST: [u8; 256] = {
        let mut allowed = [NOT_IN_HOST; 256];
        let punctuation = b"-._~!$&'()*+,;=:%[]";
        let mut at = 0;
        while at < punctuation.len() {
            allowed[punctuation[at] as usize] = punctuation[at];
            at += 1;
        }
        let mut byte = 0;
        while byte < 128_u8 {
            if byte.is_ascii_alphanumeric() {
                allowed[byte as usize] = byte.to_ascii_lowercase();
            }
            byte += 1;
        }
        allowed
    };
    IN_HOST[usize::from(byte)]
}

/// Writes `trailers`, each with its line end.
pub(super) fn write_trailers(trailers: &HeaderMap, out: &mut BytesMut) -> Result<(), RequestError> {
    if trailers.keys().any(is_forbidden_trailer) {
        return Err(RequestError::TrailerForbidden);
    }
    for (name, value) in trailers {
        write_field(name.as_str().as_bytes(), value.as_bytes(), out);
    }
    Ok(())
}

/// RFC 9110 §6.5.1: not framing, routing, modifiers of the request, authentication, or fields that
/// determine how the content is processed.
fn is_forbidden_trailer(name: &HeaderName) -> bool {
    [
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::HOST,
        header::CONNECTION,
        header::TRAILER,
        header::TE,
        header::UPGRADE,
        header::EXPECT,
        header::MAX_FORWARDS,
        header::CACHE_CONTROL,
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
    ]
    .contains(name)
}

fn write_decimal(number: u64, out: &mut BytesMut) {
    write_number::<10>(number, out);
}

/// Writes `number` in hexadecimal.
pub(super) fn write_hex(number: u64, out: &mut BytesMut) {
    write_number::<16>(number, out);
}

fn write_number<const BASE: u64>(mut number: u64, out: &mut BytesMut) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdef"[(number % BASE) as usize];
        number /= BASE;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}
