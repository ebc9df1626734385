//! What a proxy sends while a tunnel is negotiated: CONNECT, with and without a hook, SOCKS 4, 4a and 5, with and
//! without credentials. The first byte chooses the machine, the second where the rest is cut.
//!
//! Where there is one answer, the outcome does not depend on the cut. What is sent is bounded, nothing that was received gets lost, and a
//! tunnel is opened by no answer that refuses one.

#![no_main]

use bytes::BytesMut;
use http::HeaderValue;
use httpcore_core_primitives::Credentials;
use httpcore_proxy::{Connect, MAX_REFUSAL_BODY, Negotiation, Progress, Socks4, Socks5, Target};
use libfuzzer_sys::fuzz_target;

/// Maximum number of bytes that a machine sends in all: four heads, or three messages of SOCKS.
const MAX_SENT: usize = 4 * 1024;

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// What opened the tunnel or ended the negotiation, as text; `None` if it goes on.
    end: Option<Result<(), String>>,
    sent: Vec<u8>,
    /// What is left for the tunnel.
    left: Vec<u8>,
}

fn machine(kind: u8) -> Box<dyn Negotiation> {
    let name = Target::new("origin.test", 443).expect("a name");
    let address = Target::new("192.0.2.1", 443).expect("an address");
    let known = Credentials::new("user", "hunter2");
    match kind % 8 {
        0 => Box::new(Connect::new(&name).expect("a target")),
        1 => {
            let connect = Connect::new(&name).expect("a target");
            let connect = connect.with_credentials(&known).expect("they fit");
            Box::new(connect.with_authentication(|challenge| {
                assert!(challenge.round < 3);
                challenge
                    .values()
                    .next()
                    .map(|_| HeaderValue::from_static("Token x"))
            }))
        }
        2 => Box::new(Socks4::new(&name, Some("user")).expect("a target")),
        3 => Box::new(Socks4::new(&address, None).expect("a target")),
        4 => Box::new(Socks5::new(&name, Some(&known)).expect("a target")),
        5 => Box::new(Socks5::new(&address, None).expect("a target")),
        6 => Box::new(Socks5::new(&name, None).expect("a target")),
        _ => Box::new(Connect::new(&address).expect("a target")),
    }
}

fn run<'a>(kind: u8, pieces: impl IntoIterator<Item = &'a [u8]>, eof: bool) -> Outcome {
    let mut machine = machine(kind);
    let (mut sent, mut input) = (Vec::new(), BytesMut::new());
    let flush = |machine: &mut dyn Negotiation, sent: &mut Vec<u8>| {
        sent.extend_from_slice(machine.output());
        let written = machine.output().len();
        machine.advance(written);
        assert!(machine.output().is_empty());
        assert!(sent.len() <= MAX_SENT, "{} bytes are sent", sent.len());
    };
    flush(&mut *machine, &mut sent);
    let mut end = None;
    for piece in pieces {
        input.extend_from_slice(piece);
        if end.is_some() {
            continue;
        }
        end = receive(&mut *machine, &mut input, false);
        flush(&mut *machine, &mut sent);
    }
    if eof && end.is_none() {
        end = receive(&mut *machine, &mut input, true);
        assert!(end.is_some(), "the end of the stream ends the negotiation");
    }
    let left = match end {
        Some(Ok(())) => input.to_vec(),
        _ => Vec::new(),
    };
    Outcome { end, sent, left }
}

fn receive(
    machine: &mut dyn Negotiation,
    input: &mut BytesMut,
    eof: bool,
) -> Option<Result<(), String>> {
    match machine.receive(input, eof) {
        Ok(Progress::Pending) => None,
        Ok(Progress::Done) => Some(Ok(())),
        Err(error) => {
            if let Some(refusal) = error.refusal() {
                assert!(!refusal.status.is_success());
                assert!(refusal.body.len() <= MAX_REFUSAL_BODY);
            }
            let text = error.to_string();
            assert!(!text.contains("hunter2"), "{text}");
            Some(Err(text))
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [kind, cut, rest @ ..] = data else {
        return;
    };
    for eof in [false, true] {
        let whole = run(*kind, [rest], eof);
        let (first, second) = rest.split_at(usize::from(*cut) % (rest.len() + 1));
        let cut = run(*kind, [first, second], eof);
        let single = run(*kind, rest.chunks(1), eof);
        // Where several answers follow each other, one that comes in a piece with the one before is refused: it
        // came before its request.
        if !matches!(kind % 8, 0 | 2 | 3 | 7) {
            continue;
        }
        assert_eq!(whole.end, cut.end);
        assert_eq!(whole.end, single.end);
        assert_eq!((&whole.left, &whole.sent), (&single.left, &single.sent));
        assert_eq!((&whole.left, &whole.sent), (&cut.left, &cut.sent));
    }
});
