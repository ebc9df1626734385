//! The command line.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lexopt::prelude::*;

use crate::proxy::ProxyOptions;

/// A command.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Version,
    Get(Box<Get>),
    Ws(Box<Ws>),
    Sse(Box<Sse>),
    Demo,
}

/// Options of `ws`.
#[derive(Debug, Default)]
pub(crate) struct Ws {
    pub(crate) url: String,
    pub(crate) reach: Reach,
    pub(crate) subprotocols: Vec<String>,
}

/// Options of `sse`.
#[derive(Debug, Default)]
pub(crate) struct Sse {
    pub(crate) url: String,
    pub(crate) reach: Reach,
    pub(crate) last_event_id: Option<String>,
    pub(crate) once: bool,
    pub(crate) include: bool,
}

/// Options of connecting, for long streams.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    pub(crate) headers: HeaderMap,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) unix_socket: Option<PathBuf>,
    pub(crate) tls: Tls,
    pub(crate) resolve: Vec<Override>,
    pub(crate) proxy: ProxyOptions,
    pub(crate) http2_only: bool,
    pub(crate) verbose: bool,
    pub(crate) trace: bool,
}

/// Options of `get`.
#[derive(Debug, Default)]
pub(crate) struct Get {
    pub(crate) url: String,
    pub(crate) method: Option<Method>,
    pub(crate) headers: HeaderMap,
    /// Joined with `&` if there are several.
    pub(crate) data: Vec<Data>,
    pub(crate) include_head: bool,
    pub(crate) output: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) unix_socket: Option<PathBuf>,
    pub(crate) trace: bool,
    pub(crate) verbose: bool,
    pub(crate) tls: Tls,
    pub(crate) resolve: Vec<Override>,
    pub(crate) proxy: ProxyOptions,
    pub(crate) http: Http,
}

/// HTTP versions to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Http {
    /// Selected by the server in the TLS handshake; without TLS, HTTP/1.1.
    #[default]
    Chosen,
    One,
    /// HTTP/2 without negotiation.
    Two,
}

/// Options of TLS.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    pub(crate) roots: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) insecure: bool,
}

/// An address for a host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Override {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) address: IpAddr,
}

/// Source of the request body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Text(String),
    File(PathBuf),
    Stdin,
}

impl Data {
    /// The data itself.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Data::Text(text) => Some(text),
            Data::File(_) | Data::Stdin => None,
        }
    }
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    match parser.next()? {
        Some(Short('h') | Long("help")) | None => Ok(Command::Help),
        Some(Short('V') | Long("version")) => Ok(Command::Version),
        Some(Value(command)) if command == "get" => parse_get(parser),
        Some(Value(command)) if command == "ws" => parse_ws(parser),
        Some(Value(command)) if command == "sse" => parse_sse(parser),
        Some(Value(command)) if command == "demo" => match parser.next()? {
            None => Ok(Command::Demo),
            Some(Short('h') | Long("help")) => Ok(Command::Help),
            Some(more) => Err(more.unexpected()),
        },
        Some(other) => Err(other.unexpected()),
    }
}

fn parse_get(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut get = Get::default();
    let mut url = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Short('X') | Long("request") => get.method = Some(parser.value()?.parse()?),
            Short('H') | Long("header") => {
                let (name, value) = header(&parser.value()?.string()?)?;
                get.headers.append(name, value);
            }
            Short('d') | Long("data") => get.data.push(data(parser.value()?.string()?)),
            Short('i') | Long("include") => get.include_head = true,
            Short('o') | Long("output") => get.output = Some(parser.value()?.into()),
            Long("timeout") => get.timeout = Some(seconds(&mut parser)?),
            Long("connect-timeout") => get.connect_timeout = Some(seconds(&mut parser)?),
            Long("unix-socket") => get.unix_socket = Some(parser.value()?.into()),
            Long("cacert") => get.tls.roots = Some(parser.value()?.into()),
            Long("cert") => get.tls.certificate = Some(parser.value()?.into()),
            Long("key") => get.tls.key = Some(parser.value()?.into()),
            Short('k') | Long("insecure") => get.tls.insecure = true,
            Long("resolve") => get.resolve.push(resolve(&parser.value()?.string()?)?),
            Long("http1.1") => get.http = Http::One,
            Long("http2") => get.http = Http::Chosen,
            Long("http2-prior-knowledge") => get.http = Http::Two,
            Short('v') | Long("verbose") => get.verbose = true,
            Long("trace") => get.trace = true,
            Short('h') | Long("help") => return Ok(Command::Help),
            Value(value) if url.is_none() => url = Some(value.string()?),
            Long(name) => {
                let name = name.to_owned();
                if !get.proxy.take(&name, &mut parser)? {
                    return Err(format!("invalid option '--{name}'").into());
                }
            }
            other => return Err(other.unexpected()),
        }
    }
    get.proxy.check()?;
    if get.tls.key.is_some() && get.tls.certificate.is_none() {
        return Err("--key needs --cert".into());
    }
    get.url = url.ok_or("get needs a URL")?;
    Ok(Command::Get(Box::new(get)))
}

fn parse_ws(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut ws = Ws::default();
    let mut url = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("subprotocol") => ws.subprotocols.push(parser.value()?.string()?),
            Short('h') | Long("help") => return Ok(Command::Help),
            Value(value) if url.is_none() => url = Some(value.string()?),
            other => {
                let arg = owned(other)?;
                ws.reach.take(&arg, &mut parser)?;
            }
        }
    }
    ws.reach.check()?;
    ws.url = url.ok_or("ws needs a URL")?;
    Ok(Command::Ws(Box::new(ws)))
}

fn parse_sse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut sse = Sse::default();
    let mut url = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("last-event-id") => {
                sse.last_event_id = Some(event_id(parser.value()?.string()?)?);
            }
            Long("once") => sse.once = true,
            Short('i') | Long("include") => sse.include = true,
            Short('h') | Long("help") => return Ok(Command::Help),
            Value(value) if url.is_none() => url = Some(value.string()?),
            other => {
                let arg = owned(other)?;
                sse.reach.take(&arg, &mut parser)?;
            }
        }
    }
    sse.reach.check()?;
    sse.url = url.ok_or("sse needs a URL")?;
    Ok(Command::Sse(Box::new(sse)))
}

/// Returns the name of an option; anything else is an error.
fn owned(arg: lexopt::Arg<'_>) -> Result<String, lexopt::Error> {
    match arg {
        Short(letter) => Ok(letter.to_string()),
        Long(name) => Ok(name.to_owned()),
        Value(_) => Err(arg.unexpected()),
    }
}

impl Reach {
    fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        match name {
            "H" | "header" => {
                let (name, value) = header(&parser.value()?.string()?)?;
                self.headers.append(name, value);
            }
            "connect-timeout" => self.connect_timeout = Some(seconds(parser)?),
            "unix-socket" => self.unix_socket = Some(parser.value()?.into()),
            "cacert" => self.tls.roots = Some(parser.value()?.into()),
            "cert" => self.tls.certificate = Some(parser.value()?.into()),
            "key" => self.tls.key = Some(parser.value()?.into()),
            "k" | "insecure" => self.tls.insecure = true,
            "resolve" => self.resolve.push(resolve(&parser.value()?.string()?)?),
            "h2" => self.http2_only = true,
            "v" | "verbose" => self.verbose = true,
            "trace" => self.trace = true,
            _ if self.proxy.take(name, parser)? => {}
            _ => {
                let dashes = if name.len() == 1 { "-" } else { "--" };
                return Err(format!("invalid option '{dashes}{name}'").into());
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), lexopt::Error> {
        self.proxy.check()?;
        if self.tls.key.is_some() && self.tls.certificate.is_none() {
            return Err("--key needs --cert".into());
        }
        Ok(())
    }
}

pub(crate) fn header(text: &str) -> Result<(HeaderName, HeaderValue), lexopt::Error> {
    let Some((name, value)) = text.split_once(':') else {
        return Err(format!("invalid header {text:?}: expected 'Name: value'").into());
    };
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("invalid header name {name:?}"))?;
    // The value may be a secret, and so it is not repeated.
    let value = HeaderValue::from_str(value.trim())
        .map_err(|_| format!("invalid character in the value of header {name}"))?;
    Ok((name, value))
}

/// An id that is a valid field value.
fn event_id(text: String) -> Result<String, lexopt::Error> {
    match HeaderValue::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(text),
        Err(_) => Err(format!(
            "invalid --last-event-id {text:?}: control characters are not allowed"
        )
        .into()),
    }
}

/// `host:port:address`; an IPv6 address with or without brackets.
fn resolve(text: &str) -> Result<Override, lexopt::Error> {
    let read = || {
        let (host, rest) = text.split_once(':')?;
        let (port, address) = rest.split_once(':')?;
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
        Some(Override {
            host: host.to_ascii_lowercase(),
            port: port.parse().ok()?,
            address: bare.unwrap_or(address).parse().ok()?,
        })
    };
    read().ok_or_else(|| format!("--resolve takes HOST:PORT:ADDRESS, and not {text:?}").into())
}

fn data(text: String) -> Data {
    match text.strip_prefix('@') {
        None => Data::Text(text),
        Some("-") => Data::Stdin,
        Some(path) => Data::File(path.into()),
    }
}

fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, lexopt::Error> {
    let seconds: f64 = parser.value()?.parse()?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| format!("invalid number of seconds: {seconds}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(args: &[&str]) -> Result<Get, String> {
        let parser = lexopt::Parser::from_args(["get"].iter().chain(args));
        match parse(parser) {
            Ok(Command::Get(get)) => Ok(*get),
            Ok(other) => panic!("{other:?} is no get"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn options_may_stand_anywhere() {
        let get = get(&[
            "-H",
            "A: 1",
            "http://x/",
            "-H",
            "a:2",
            "-d",
            "@f",
            "-i",
            "--timeout=1.5",
            "-XPUT",
        ])
        .unwrap();
        assert_eq!(get.url, "http://x/");
        assert_eq!(get.headers.get_all("a").iter().count(), 2);
        assert_eq!(get.data, [Data::File("f".into())]);
        assert!(get.include_head);
        assert_eq!(get.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(get.method, Some(Method::PUT));
    }

    #[test]
    fn each_piece_of_data_counts() {
        let get = get(&["http://x/", "-d", "a=1", "--data", "@-", "-d@f"]).unwrap();
        let file = Data::File("f".into());
        assert_eq!(get.data, [Data::Text("a=1".into()), Data::Stdin, file]);
    }

    #[test]
    fn a_host_can_be_said_to_be_elsewhere() {
        for (text, address) in [
            ("A.test:443:127.0.0.1", "127.0.0.1"),
            ("a.test:443:[::1]", "::1"),
        ] {
            let get = get(&["https://a.test/", "--resolve", text]).unwrap();
            let expected = Override {
                host: "a.test".to_owned(),
                port: 443,
                address: address.parse().unwrap(),
            };
            assert_eq!(get.resolve, [expected]);
        }
    }

    #[test]
    fn the_last_word_on_the_version_counts() {
        let http = |args: &[&str]| get(args).unwrap().http;
        assert_eq!(http(&["http://x/"]), Http::Chosen);
        assert_eq!(http(&["http://x/", "--http1.1"]), Http::One);
        assert_eq!(http(&["--http2-prior-knowledge", "http://x/"]), Http::Two);
        assert_eq!(http(&["--http1.1", "--http2", "http://x/"]), Http::Chosen);
    }

    #[test]
    fn nonsense_is_named() {
        for (args, what) in [
            (&[][..], "URL"),
            (&["http://x/", "http://y/"], "http://y/"),
            (&["http://x/", "-H", "no colon"], "no colon"),
            (&["http://x/", "-H", "a b: c"], "a b"),
            (&["http://x/", "--timeout", "-1"], "-1"),
            (&["http://x/", "--resolve", "a:b:c"], "a:b:c"),
            (&["http://x/", "--key", "k.pem"], "--cert"),
            (&["http://x/", "--frobnicate"], "frobnicate"),
        ] {
            let error = get(args).unwrap_err();
            assert!(error.contains(what), "{args:?}: {error}");
        }
    }

    #[test]
    fn long_streams_share_their_options() {
        let parse = |args: &[&str]| parse(lexopt::Parser::from_args(args));
        let args = [
            "ws",
            "ws://x/",
            "-H",
            "a: b",
            "--subprotocol",
            "chat",
            "--h2",
            "-k",
        ];
        let Ok(Command::Ws(ws)) = parse(&args) else {
            panic!()
        };
        assert_eq!(
            (&*ws.url, &*ws.subprotocols),
            ("ws://x/", &["chat".to_owned()][..])
        );
        assert!(ws.reach.http2_only && ws.reach.tls.insecure && ws.reach.headers.len() == 1);
        let args = ["sse", "--last-event-id=7", "--once", "-iv", "http://x/"];
        let Ok(Command::Sse(sse)) = parse(&args) else {
            panic!()
        };
        assert_eq!(sse.last_event_id.as_deref(), Some("7"));
        assert!(sse.once && sse.include && sse.reach.verbose);
        for (args, what) in [
            (&["ws"][..], "URL"),
            (&["sse"], "URL"),
            (&["ws", "ws://x/", "--frobnicate"], "--frobnicate"),
            (&["ws", "ws://x/", "ws://y/"], "ws://y/"),
            (&["sse", "http://x/", "--key", "k"], "--cert"),
            (
                &["sse", "http://x/", "--last-event-id", "7\n8"],
                "--last-event-id",
            ),
            (
                &["sse", "http://x/", "--last-event-id", "7\0"],
                "--last-event-id",
            ),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(what), "{args:?}: {error}");
        }
    }

    #[test]
    fn a_bad_header_value_is_not_repeated() {
        let error = get(&["http://x/", "-H", "Authorization: s3cr3t\n!"]).unwrap_err();
        assert!(!error.contains("s3cr3t"), "{error}");
    }
}
