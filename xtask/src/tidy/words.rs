//! Words that are not used here: identifiers that have been replaced, and phrases that do not name an
//! actor of HTTP.
//!
//! Both lists apply to every `.rs`, `.md` and `.toml` file, by path:
//!
//! - [`EXEMPT`] files may contain both: they explain the words, or their text comes from elsewhere.
//! - [`HISTORY`] files may contain replaced identifiers, since they describe the past.
//! - [`UNCONVERTED`] files may still contain the phrases. The list exists for the time of the conversion:
//!   an entry states that its files have not been rewritten yet. When they have, the entry is removed,
//!   and from then on a phrase in them is a problem. An entry without effect is printed as a note and
//!   does not fail the check, so that the rewriting of a folder and the removal of its entry can be
//!   separate commits on separate branches.
//!
//! To convert a folder: `grep -rniE` for the phrases in it, rewrite the sentences with a caller, a
//! connection, a peer or a task as the subject, and remove the folder's entry.

use super::Sources;

/// Identifiers that have been replaced, and what replaced them. Whole identifiers, by case, wherever
/// they occur.
#[rustfmt::skip]
const IDENTIFIERS: &[(&str, &str)] = &[
    ("Alarm", "LazyTimer"),
    ("Census", "LiveCounts"),
    ("ConnectionUse", "ConnectionPolicy"),
    ("DialTerms", "ConnectContext"),
    ("Dialler", "Connector"),
    ("DubiousBody", "SuspiciousBody"),
    ("Epoll", "EventLoop"),
    ("GOODBYES", "MAX_CLOSE_POLLS"),
    ("Getaddrinfo", "SystemResolver"),
    ("GivenBack", "RejectedResponse"),
    ("Happening", "ScheduledEvent"),
    ("IdleEnd", "IdleEvent"),
    ("KeepRawHead", "CaptureRawHead"),
    ("KeepStreamInfo", "IncludeConnectionInfo"),
    ("LeaseRevoked", "ConnectionRevoked"),
    ("MOST_ATTEMPTS", "MAX_ATTEMPTS"),
    ("MOST_FINDINGS", "MAX_VIOLATIONS"),
    ("MOST_FRAMING", "MAX_FRAMING_BYTES"),
    ("MOST_HELD", "MAX_HELD_BYTES"),
    ("MOST_INSTANTS_WITHOUT_MAIN", "MAX_INSTANTS_WITHOUT_MAIN"),
    ("MOST_PIECES", "MAX_PIECES"),
    ("MOST_POINTS", "MAX_POINTS"),
    ("MOST_POLLS_AT_ONE_INSTANT", "MAX_POLLS_AT_ONE_INSTANT"),
    ("MOST_SLICES", "MAX_SLICES"),
    ("MOST_UNPROCESSED", "MAX_UNPROCESSED_RETRIES"),
    ("MOST_WAITING", "MAX_WAITING_LOOKUPS"),
    ("NoExtendedConnect", "ExtendedConnectUnsupported"),
    ("NotEvents", "UnexpectedResponse"),
    ("Requesting", "ResponseFuture"),
    ("RunQueue", "TaskQueue"),
    ("RuntimeGone", "RuntimeShutdown"),
    ("StreamInfo", "ConnectionInfo"),
    ("TlsChoice", "TlsOverride"),
    ("TraceSink", "TraceListener"),
    ("assert_played", "assert_finished"),
    ("callers_turn", "awaiting_caller"),
    ("continue_wait", "expect_continue_timeout"),
    ("dial_patience", "connect_preempt_after"),
    ("doubt_the_end", "check_eof_after_write_error"),
    ("drain_bytes", "max_drain_on_drop"),
    ("first_byte", "response_head"),
    ("frame_last", "encode_last_data"),
    ("give_up_after", "max_reconnects"),
    ("keep_alive_deadline", "keep_alive_timeout"),
    ("keep_wire", "set_transcript_limit"),
    ("keeping_secrets", "without_redaction"),
    ("leave_with", "insert_into"),
    ("look_for_end", "try_read_end"),
    ("max_pause", "max_reconnect_delay"),
    ("max_shared_per_origin", "max_http2_connections_per_origin"),
    ("poll_limit", "poll_stream_limit"),
    ("queue_limit", "max_pending_requests"),
    ("remembered_sessions", "session_cache_size"),
    ("send_piece", "send_fragment"),
    ("start_piece", "start_fragment"),
    ("take_whole", "try_take_full_body"),
    ("trusting_anything", "accept_any_certificate"),
    ("with_first_byte", "with_response_head"),
    ("with_idle_for", "with_timeout"),
];

/// Phrases, and what to write instead. Whole words, in any case.
const PHRASES: &[(&str, &str)] = &[
    ("nobody", "no task, no caller, no peer"),
    ("somebody", "a task, a caller, a peer"),
    ("whoever", "the caller, the task, the peer"),
    ("who asks", "the caller"),
    ("who comes", "the next request"),
    ("who waits", "the waiting request"),
    ("goodbye", "close_notify, GOAWAY, Close frame"),
    ("goodbyes", "close_notify, GOAWAY, Close frame"),
    ("is told", "receives, is called with"),
    ("hears of", "receives, observes"),
    ("the workshop", "tooling"),
];

/// Files that name the words in order to say that they are not used, and texts of others.
const EXEMPT: &[&str] = &[
    "docs/glossary.md",
    "docs/style.md",
    "fuzz/corpus/",
    "xtask/src/tidy/words.rs",
];

/// Descriptions of the past, which keep the names of their time.
const HISTORY: &[&str] = &["CHANGELOG.md", "docs/decisions/"];

/// Files and folders in which phrases have not been replaced yet. Folders end with a slash. The longest
/// entry that covers a path applies.
const UNCONVERTED: &[&str] = &[
    "crates/cli/",
    "crates/core-primitives/",
    "crates/httpcore/",
    "crates/net-epoll/",
    "crates/net-mock/",
    "crates/net-tls/",
    "crates/pool/",
    "crates/proto-h1/",
    "crates/proto-h2/",
    "crates/sse/",
    "crates/ws-upgrade/",
    "docs/http2-differences.md",
    "tests/",
];

pub(crate) fn check(sources: &Sources) -> Vec<String> {
    let found = check_with(sources, UNCONVERTED);
    for entry in found.unneeded {
        println!("    words: {entry} has no phrase left; its entry in UNCONVERTED can be removed");
    }
    found.problems
}

struct Found {
    problems: Vec<String>,
    /// Entries of the list of unconverted paths that cover no phrase.
    unneeded: Vec<String>,
}

fn check_with(sources: &Sources, unconverted: &[&str]) -> Found {
    let mut problems = Vec::new();
    let mut is_needed = vec![false; unconverted.len()];
    for (path, text) in sources {
        let is_text = [".rs", ".md", ".toml"]
            .iter()
            .any(|end| path.ends_with(end));
        if !is_text || EXEMPT.iter().any(|entry| covers(entry, path)) {
            continue;
        }
        let is_history = HISTORY.iter().any(|entry| covers(entry, path));
        let entry = (0..unconverted.len())
            .filter(|entry| covers(unconverted[*entry], path))
            .max_by_key(|entry| unconverted[*entry].len());
        for (number, line) in (1..).zip(text.lines()) {
            for (old, new) in IDENTIFIERS.iter().filter(|_| !is_history) {
                if has_word(line, old) {
                    problems.push(format!("{path}:{number}: {old} is {new} now"));
                }
            }
            let line = line.to_lowercase();
            for (phrase, better) in PHRASES {
                if !has_word(&line, phrase) {
                    continue;
                }
                match entry {
                    Some(entry) => is_needed[entry] = true,
                    None => problems.push(format!("{path}:{number}: {phrase:?}: write {better}")),
                }
            }
        }
    }
    let entries = unconverted.iter().zip(is_needed);
    Found {
        problems,
        unneeded: entries
            .filter(|(_, is_needed)| !is_needed)
            .map(|(entry, _)| (*entry).to_owned())
            .collect(),
    }
}

fn covers(entry: &str, path: &str) -> bool {
    path == entry || (entry.ends_with('/') && path.starts_with(entry))
}

/// Whether `word` is in `line` with no letter, digit or underscore next to it.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str, unconverted: &[&str]) -> Vec<String> {
        check_with(&[(path.to_owned(), text.to_owned())].into(), unconverted).problems
    }

    #[test]
    fn replaced_identifier_is_noticed_in_code_and_in_prose() {
        for text in [
            "use httpcore::Epoll;\n",
            "/// See [`Epoll`].\n",
            "\"Epoll::new\"\n",
        ] {
            let expected = ["crates/a.rs:1: Epoll is EventLoop now"];
            assert_eq!(problems("crates/a.rs", text, &[]), expected, "{text}");
        }
    }

    #[test]
    fn longer_identifier_that_contains_a_replaced_one_passes() {
        for text in ["EpollFlags", "first_bytes", "my_first_byte", "epoll"] {
            assert_eq!(problems("a.rs", text, &[]), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn phrase_is_noticed_in_any_case_and_only_as_a_whole() {
        for text in [
            "// Nobody waits.\n",
            "a string: \"for whoever\"\n",
            "one who asks\n",
        ] {
            assert_eq!(problems("a.md", text, &[]).len(), 1, "{text}");
        }
        for text in ["nobodys", "who asked", "goodbye_frame"] {
            assert_eq!(problems("a.md", text, &[]), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn unconverted_folder_may_have_phrases_but_no_replaced_identifiers() {
        let text = "nobody\nEpoll\n";
        let found = problems("crates/pool/src/a.rs", text, &["crates/pool/"]);
        assert_eq!(found, ["crates/pool/src/a.rs:2: Epoll is EventLoop now"]);
        let other = problems("crates/pool2/src/a.rs", "nobody\n", &[]);
        assert_eq!(other.len(), 1);
    }

    #[test]
    fn entry_that_covers_no_phrase_is_reported_and_is_no_problem() {
        let sources = [
            (
                "crates/pool/src/a.rs".to_owned(),
                "// The caller.\n".to_owned(),
            ),
            ("crates/sse/src/a.rs".to_owned(), "// nobody\n".to_owned()),
        ];
        let found = check_with(&sources.into(), &["crates/pool/", "crates/sse/", "gone.md"]);
        assert_eq!(found.problems, Vec::<String>::new());
        assert_eq!(found.unneeded, ["crates/pool/", "gone.md"]);
    }

    #[test]
    fn longest_entry_that_covers_a_path_applies() {
        let sources = [("crates/sse/src/a.rs".to_owned(), "// nobody\n".to_owned())];
        let found = check_with(&sources.into(), &["crates/", "crates/sse/"]);
        assert_eq!(found.unneeded, ["crates/"]);
    }

    #[test]
    fn history_keeps_replaced_identifiers() {
        let found = problems("docs/decisions/0001-x.md", "`Epoll`\n", &[]);
        assert_eq!(found, Vec::<String>::new());
    }
}
