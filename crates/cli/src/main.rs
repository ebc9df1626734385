//! The httpcore engine on the command line. See `httpcore --help`.

#![forbid(unsafe_code)]

mod args;
mod demo;
mod get;
mod output;
mod reach;
mod resolve;
mod sse;
mod target;
mod trace;
mod ws;

use std::{error::Error as StdError, io::Write, process::ExitCode};

use output::say;

const HELP: &str = "\
httpcore: HTTP requests over an event loop of their own

Usage:
  httpcore get URL [options]   send a request and print the response's body
  httpcore ws URL [options]    open a WebSocket: lines of stdin out, messages to stdout, until stdin
                               has ended and half a second has been quiet
  httpcore sse URL [options]   print Server-Sent Events, and go on where a broken stream ended
  httpcore demo                start a server on loopback and show real requests against it

Options of get:
  -X, --request METHOD    the method; GET by default, POST with -d
  -H, --header 'N: V'     a header field; may be given again
  -d, --data DATA         the request's body; @FILE sends a file, @- what stdin says; of several, all,
                          with & between them
  -i, --include           print the response's head before its body, and its trailers behind it
  -o, --output FILE       write the body to FILE, with a progress bar; - is stdout, for binary bodies
                          on a terminal too
      --timeout SECONDS   give up when everything has taken this long
      --connect-timeout SECONDS
                          give up when looking up and connecting have each taken this long
      --unix-socket PATH  connect to this socket; URL says what is asked of it
      --cacert FILE       trust the authorities in this file (PEM), and no others
      --cert FILE         show this client certificate (PEM), with its key if --key is not given
      --key FILE          the key of the client certificate (PEM)
  -k, --insecure          accept any certificate: an attacker can read and change everything
      --resolve HOST:PORT:ADDRESS
                          look for this host and port at this address; may be given again
      --http1.1           speak HTTP/1.1 only
      --http2             HTTP/2 if the server chooses it in the TLS handshake: the default
      --http2-prior-knowledge
                          speak HTTP/2 without asking, over http:// too
  -v, --verbose           say on stderr what the connection is, TLS above all
      --trace             say on stderr what happens, and when
  -h, --help              this text
  -V, --version           the version

A URL without a scheme is one of http:// (ws:// for ws). A user and a password in it are sent as
Authorization: Basic, unless -H says otherwise, and are not printed.

Options of ws and sse:
      --subprotocol NAME  ws: offer this subprotocol; may be given again
      --last-event-id ID  sse: begin behind this event
      --once              sse: end with the first response
  -i, --include           sse: print names and ids too
      --h2                speak HTTP/2 only, without TLS too
  and of those above: -H, -v, -k, -h, --trace, --connect-timeout, --unix-socket, --cacert, --cert,
  --key, --resolve

The exit status is 0 only for a complete response, whatever its status code; 1 if the request
failed, 2 if the command line makes no sense.
";

/// What ends the program early.
enum Exit {
    /// The command line makes no sense.
    Usage(String),
    /// The request failed.
    Failed(Box<dyn StdError>),
    /// The reader of stdout has gone: there is no more to do, and nothing to say.
    Unread,
}

impl<E: StdError + 'static> From<E> for Exit {
    fn from(error: E) -> Self {
        Exit::Failed(Box::new(error))
    }
}

fn main() -> ExitCode {
    let done = match args::parse(lexopt::Parser::from_env()) {
        Ok(args::Command::Help) => print(HELP),
        Ok(args::Command::Version) => print(concat!("httpcore ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(args::Command::Get(options)) => get::run(&options),
        Ok(args::Command::Ws(options)) => ws::run(&options),
        Ok(args::Command::Sse(options)) => sse::run(&options),
        Ok(args::Command::Demo) => demo::run(),
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

fn print(text: &str) -> Result<(), Exit> {
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written.map_err(output::stdout_failed) {
        // Whatever its reader wanted of it, it has.
        Err(Exit::Unread) => Ok(()),
        written => written,
    }
}

/// An error and what caused it, in one line.
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
