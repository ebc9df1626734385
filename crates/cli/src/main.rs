//! HTTP requests from the command line. See `httpcore --help`.

#![forbid(unsafe_code)]

mod args;
mod demo;
mod get;
mod output;
mod proxy;
mod reach;
mod resolve;
mod sse;
mod target;
mod trace;
mod ws;

use std::{error::Error as StdError, io::Write, process::ExitCode};

use output::say;

const HELP: &str = "\
httpcore: an HTTP client for the command line

Usage:
  httpcore get URL [options]   send a request and print the response's body
  httpcore ws URL [options]    open a WebSocket: lines of stdin out, messages to stdout, until stdin
                               has ended and half a second has been quiet
  httpcore sse URL [options]   print Server-Sent Events; reconnect after a broken stream
  httpcore demo                start a server on loopback and show real requests against it

Options of get:
  -X, --request METHOD    the method; GET by default, POST with -d
  -H, --header 'N: V'     a header field; may be given again
  -d, --data DATA         the request body; @FILE sends a file, @- standard input; several are joined
                          with &
  -i, --include           print the response head before the body, and the trailers after it
  -o, --output FILE       write the body to FILE, with a progress bar; - is stdout, also for binary
                          bodies on a terminal
      --timeout SECONDS   maximum total time
      --connect-timeout SECONDS
                          maximum time for the look-up, and for connecting
      --unix-socket PATH  connect to this Unix socket; URL has host and path
      --cacert FILE       trust only the authorities in this file (PEM)
      --cert FILE         client certificate (PEM), with its key unless --key is given
      --key FILE          the key of the client certificate (PEM)
  -k, --insecure          accept any certificate: an attacker can read and change everything
      --proxy URL         use this proxy (http, https, socks4, socks4a, socks5, socks5h), instead of those
                          of http_proxy, https_proxy and all_proxy in the environment; '' for none
      --preproxy URL      reach the proxy through this one
      --noproxy LIST      hosts without a proxy, * for all, instead of no_proxy in the environment
      --proxy-user USER:PASSWORD
                          the credentials for the proxy
      --proxy-header 'N: V'
                          a header field for the proxy; may be given again
      --proxy-cacert FILE trust the authorities in this file (PEM) for the TLS of the proxy, and no others
      --resolve HOST:PORT:ADDRESS
                          use this address for this host and port; may be given again
      --http1.1           use HTTP/1.1 only
      --http2             HTTP/2 if the server selects it in the TLS handshake (default)
      --http2-prior-knowledge
                          use HTTP/2 without negotiation, also over http://
  -v, --verbose           print the connection, proxies and TLS details to stderr
      --trace             print events with times to stderr
  -h, --help              print this help
  -V, --version           print the version

A URL without a scheme is one of http:// (ws:// for ws). A user and a password in it are sent as
Authorization: Basic, unless -H says otherwise, and are not printed.

Options of ws and sse:
      --subprotocol NAME  ws: offer this subprotocol; may be given again
      --last-event-id ID  sse: start after this event
      --once              sse: end with the first response
  -i, --include           sse: also print event types and ids
      --h2                use HTTP/2 only, also without TLS
  and of those above: -H, -v, -k, -h, --trace, --connect-timeout, --unix-socket, --cacert, --cert,
  --key, --resolve, and those of proxies

The exit status is 0 only for a complete response, whatever its status code; 1 if the request
failed, 2 if the command line is invalid.
";

/// Reasons to exit early.
enum Exit {
    /// The command line is invalid.
    Usage(String),
    /// The request failed.
    Failed(Box<dyn StdError>),
    /// The reader of stdout has closed it: nothing more is printed.
    Unread,
}

impl<E: StdError + 'static> From<E> for Exit {
    fn from(error: E) -> Self {
        Exit::Failed(Box::new(error))
    }
}

fn main() -> ExitCode {
    let done = match args::parse(lexopt::Parser::from_env()) {
        Ok(command) => run(&command),
        Err(error) => Err(Exit::Usage(error.to_string())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Exit::Usage(what)) => {
            say!("httpcore: {what}; try 'httpcore --help'");
            ExitCode::from(2)
        }
        Err(Exit::Failed(error)) => {
            say!("httpcore: {}", sentence(&*error));
            ExitCode::FAILURE
        }
        Err(Exit::Unread) => ExitCode::FAILURE,
    }
}

fn run(command: &args::Command) -> Result<(), Exit> {
    // Only a body that goes to a file, without its head, leaves stdout alone.
    let is_silent = matches!(command, args::Command::Get(options) if !get::prints(options));
    if !is_silent {
        output::check_stdout()?;
    }
    match command {
        args::Command::Help => print(HELP),
        args::Command::Version => print(concat!("httpcore ", env!("CARGO_PKG_VERSION"), "\n")),
        args::Command::Get(options) => get::run(options),
        args::Command::Ws(options) => ws::run(options),
        args::Command::Sse(options) => sse::run(options),
        args::Command::Demo => demo::run(),
    }
}

fn print(text: &str) -> Result<(), Exit> {
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written.map_err(output::stdout_failed) {
        // The reader has read what it wanted.
        Err(Exit::Unread) => Ok(()),
        written => written,
    }
}

/// Formats an error and its sources in one line.
fn sentence(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
