//! Reads each accepted case of `crates/proto-h1/tests/cases/responses.txt` with other clients, and
//! compares what they make of it: status, fields, body, trailers, and whether that was all.
//!
//! Every disagreement stands in `docs/http1-differences.md` with who is right; one that does not,
//! and one that stands there and is none any more, is an error. The path of a Python which has h11
//! is the argument; without it, h11 is left out.

#![forbid(unsafe_code)]

#[path = "../../crates/proto-h1/tests/cases/mod.rs"]
mod cases;
mod h11;
mod hyper;
mod ours;
mod ureq;

use std::{collections::BTreeSet, fmt, process::ExitCode};

use cases::Case;

/// What a client makes of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reading {
    /// 0: none has come.
    status: u16,
    /// By name, and then as they came.
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    /// `None` from who does not tell.
    trailers: Option<Vec<(String, Vec<u8>)>>,
    end: End,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum End {
    Complete,
    /// More must come.
    #[default]
    Waiting,
    /// Another protocol's turn.
    Switched,
    Refused(String),
    /// The client cannot ask like this.
    Unasked,
}

impl Reading {
    fn refused(why: impl fmt::Display) -> Self {
        Reading {
            end: End::Refused(why.to_string()),
            ..Reading::default()
        }
    }

    /// What `other` makes of it that this one does not.
    fn difference(&self, other: &Reading) -> Option<String> {
        match (&self.end, &other.end) {
            (_, End::Unasked) => return None,
            (_, End::Refused(why)) => return Some(format!("refuses it: {why}")),
            (ours, theirs) if ours != theirs => {
                return Some(format!("{theirs:?} and not {ours:?}"));
            }
            _ => {}
        }
        if self.status != other.status {
            return Some(format!("status {}", other.status));
        }
        if self.fields != other.fields {
            let mut fields = other.fields.iter();
            let other = fields.find(|field| !self.fields.contains(field));
            let Some((name, value)) = other else {
                return Some("fewer fields".into());
            };
            return Some(format!("field {name}: '{}'", value.escape_ascii()));
        }
        if self.body != other.body {
            return Some(format!("body '{}'", other.body.escape_ascii()));
        }
        match &other.trailers {
            Some(trailers)
                if self.end == End::Complete && self.trailers.as_ref() != Some(trailers) =>
            {
                Some(format!("trailers {trailers:?}"))
            }
            _ => None,
        }
    }
}

/// `fields` by name, those of one name as they came.
fn sorted(fields: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

fn of_map(map: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    sorted(
        map.iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())),
    )
}

/// The request of a case.
fn request(case: &Case) -> http::Request<()> {
    let builder = http::Request::builder().uri("http://localhost:80/");
    let builder = match case.request {
        "UPGRADE" => builder
            .header("connection", "upgrade")
            .header("upgrade", "websocket"),
        "CLOSE" => builder.header("connection", "close"),
        "1.0" => builder.version(http::Version::HTTP_10),
        method => builder.method(method),
    };
    builder.body(()).expect("a request")
}

fn main() -> ExitCode {
    let cases: Vec<Case> = cases::responses()
        .into_iter()
        .filter(|case| case.verdict.is_ok())
        .collect();
    let mut readers: Vec<(&str, Vec<Reading>)> = vec![
        ("hyper", cases.iter().map(hyper::read).collect()),
        ("ureq-proto", cases.iter().map(ureq::read).collect()),
    ];
    match std::env::args().nth(1) {
        Some(python) => readers.push(("h11", h11::read(&python, &cases))),
        None => println!("LEFT OUT: h11 (no Python was named)"),
    }
    let mut found = BTreeSet::new();
    for (at, case) in cases.iter().enumerate() {
        let ours = ours::read(case);
        for (name, readings) in &readers {
            if let Some(difference) = ours.difference(&readings[at]) {
                println!("- {name} | {} | {difference}", case.rule);
                found.insert(format!("- {name} | {}", case.rule));
            }
        }
    }
    let text = include_str!("../../docs/http1-differences.md");
    let names: Vec<&str> = readers.iter().map(|(name, _)| *name).collect();
    let is_ours = |line: &&str| {
        names
            .iter()
            .any(|name| line.starts_with(&format!("- {name} | ")))
    };
    let known: BTreeSet<String> = text.lines().filter(is_ours).map(str::to_owned).collect();
    for line in found.difference(&known) {
        eprintln!("not in docs/http1-differences.md: {line}");
    }
    for line in known.difference(&found) {
        eprintln!("no difference any more: {line}");
    }
    println!(
        "{} cases, {} clients, {} differences",
        cases.len(),
        readers.len(),
        found.len()
    );
    if found == known {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
