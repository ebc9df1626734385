//! The parser against the text of the standard: each input whole, and cut at every byte.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a helper of a test fails the test"
)]

use std::time::Duration;

use bytes::Bytes;
use httpcore_sse::{Limits, Parser, TooLarge};
use proptest::prelude::*;

/// What pieces come to: events as `name(id): data`, then what a reconnect would send and wait.
fn parse(pieces: &[&[u8]], limits: Limits) -> Result<Vec<String>, TooLarge> {
    let mut parser = Parser::new(limits);
    let mut told = Vec::new();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(event) = parser.next(&mut input)? {
            told.push(format!("{}({}): {}", event.name, event.id, event.data));
        }
        assert!(input.is_empty(), "all of the input is consumed");
    }
    if !parser.last_event_id().is_empty() {
        told.push(format!("id {}", parser.last_event_id()));
    }
    if let Some(retry) = parser.retry() {
        told.push(format!("retry {retry:?}"));
    }
    Ok(told)
}

/// `input` whole, byte by byte, and cut in two and in three at every place.
fn check(input: impl AsRef<[u8]>, expected: &[&str]) {
    let input = input.as_ref();
    let whole = parse(&[input], Limits::default()).unwrap();
    assert_eq!(whole, expected, "{:?}", String::from_utf8_lossy(input));
    let bytes: Vec<_> = input.chunks(1).collect();
    assert_eq!(parse(&bytes, Limits::default()).unwrap(), whole);
    for cut in 0..=input.len() {
        let (one, rest) = input.split_at(cut);
        assert_eq!(parse(&[one, rest], Limits::default()).unwrap(), whole);
        for cut in 0..=rest.len() {
            let (two, three) = rest.split_at(cut);
            let cut = parse(&[one, two, three], Limits::default()).unwrap();
            assert_eq!(cut, whole, "{:?}", String::from_utf8_lossy(input));
        }
    }
}

#[test]
fn the_examples_of_the_standard() {
    // 9.2.6, in the order in which they stand there.
    check(
        "data: YHOO\ndata: +2\ndata: 10\n\n",
        &["message(): YHOO\n+2\n10"],
    );
    check(
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        &[
            "message(1): first event",
            "message(): second event",
            "message():  third event",
        ],
    );
    // The last block lacks its empty line.
    check(
        "data\n\ndata\ndata\n\ndata:",
        &["message(): ", "message(): \n"],
    );
    check(
        "data:test\n\ndata: test\n\n",
        &["message(): test", "message(): test"],
    );
    // 9.2.2: names of events.
    check(
        "event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n",
        &["add(): 73857293", "remove(): 2153"],
    );
}

#[test]
fn all_three_line_ends_in_any_mixture() {
    for end in ["\n", "\r", "\r\n"] {
        let text = "data: a\ndata: b\n\n\ndata: c\n\n".replace('\n', end);
        check(text, &["message(): a\nb", "message(): c"]);
    }
    check(
        "data: a\rdata: b\ndata: c\r\n\r\ndata: d\r\rdata: e\n\r",
        &["message(): a\nb\nc", "message(): d", "message(): e"],
    );
    // CR LF is one end; LF CR are two.
    check("data: a\n\rdata: b\n\n", &["message(): a", "message(): b"]);
}

#[test]
fn an_event_is_there_with_the_cr_that_ends_it() {
    let mut parser = Parser::new(Limits::default());
    let mut input = "data: a\r\n\r".into();
    assert_eq!(parser.next(&mut input).unwrap().unwrap().data, "a");
    let mut input = "\ndata: b\n\n".into();
    assert_eq!(parser.next(&mut input).unwrap().unwrap().data, "b");
}

#[test]
fn one_byte_order_mark_is_taken_off() {
    check("\u{feff}data: a\n\n", &["message(): a"]);
    // A second one belongs to the field's name, which is then unknown.
    check("\u{feff}\u{feff}data: a\n\n", &[]);
    check("\u{feff}", &[]);
    check("\u{feff}\n\ndata: a\n\n", &["message(): a"]);
    check("data: a\n\u{feff}data: b\n\n", &["message(): a"]);
    // Half a mark is part of a line.
    check(b"\xef\xbbdata: a\ndata: b\n\n", &["message(): b"]);
    check(b"\xef\n\ndata: b\n\n", &["message(): b"]);
}

#[test]
fn ids_stay_until_the_next_and_never_hold_nul() {
    check(
        "id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\nid\ndata: d\n\n",
        &[
            "message(1): a",
            "message(1): b",
            "message(2): c",
            "message(): d",
        ],
    );
    check(
        "id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n",
        &["message(1): a", "message(1): b", "id 1"],
    );
    // An event without data is none, and its id counts all the same.
    check("data: a\n\nid: 7\n\n", &["message(): a", "id 7"]);
    // One that was not finished does not count.
    check(
        "id: 6\ndata: a\n\nid: 7\ndata: b\n",
        &["message(6): a", "id 6"],
    );
    check(
        "id: \u{fc}ber\ndata: a\n\n",
        &["message(über): a", "id über"],
    );
}

#[test]
fn retry_is_digits_and_nothing_else() {
    check("retry: 1500\n\n", &["retry 1.5s"]);
    check("retry:0\n", &["retry 0ns"]);
    check("retry: 10\nretry: 20\n", &["retry 20ms"]);
    for not in ["", "-1", "+1", "1.5", "1s", " 1", "１", "0x10"] {
        check(format!("retry: 10\nretry: {not}\n\n"), &["retry 10ms"]);
    }
    check(
        "retry: 10\nretry: 99999999999999999999999\n",
        &["retry 10ms"],
    );
    check("retry\ndata: a\n\n", &["message(): a"]);
}

#[test]
fn other_fields_and_comments_are_passed_over() {
    check(
        ":\n: comment\n:data: x\nDATA: x\ndata : x\n data: x\nfoo: bar\nfoo\ndata: a\n\n",
        &["message(): a"],
    );
    check("data: a: b:c\n\n", &["message(): a: b:c"]);
    check("data:\ta\n\n", &["message(): \ta"]);
    check("event:\ndata: a\n\n", &["message(): a"]);
    check("event: x\nevent: y\ndata: a\n\n", &["y(): a"]);
    // A name without data is forgotten with its event.
    check("event: x\n\ndata: a\n\n", &["message(): a"]);
    check("", &[]);
    check("\n\n\n", &[]);
}

#[test]
fn what_is_no_utf8_is_replaced() {
    check(b"data: a\xffb\n\n", &["message(): a\u{fffd}b"]);
    check(
        b"data: \xe2\x82\ndata: \xac\n\n",
        &["message(): \u{fffd}\n\u{fffd}"],
    );
    check(
        "data: \u{20ac}\u{1f600}\n\n",
        &["message(): \u{20ac}\u{1f600}"],
    );
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let limits = Limits::default().with_max_event_size(100);
    let bytes = |text: String| parse(&[text.as_bytes()], limits).map(|told| told.len());
    let refused = Err(TooLarge { limit: 100 });
    assert_eq!(bytes(format!("data: {}\n\n", "x".repeat(94))), Ok(1));
    assert_eq!(bytes(format!("data: {}\n\n", "x".repeat(95))), refused);
    assert_eq!(bytes("data: 12345678\n".repeat(20)), refused);
    assert_eq!(bytes(format!("event: {}", "x".repeat(100))), refused);
    assert_eq!(bytes(format!("unknown: {}", "x".repeat(100))), refused);
    assert_eq!(bytes("x".repeat(101)), refused);
    // What is not kept may be of any length, and so may a stream.
    assert_eq!(bytes(format!(":{}\ndata: a\n\n", "x".repeat(1000))), Ok(1));
    assert_eq!(bytes("data: 12345678\n\n".repeat(1000)), Ok(1000));
    // An id stays, and takes its share.
    let with_id = format!("id: {}\ndata: a\n\n", "i".repeat(60));
    assert_eq!(
        bytes(with_id + &format!("data: {}\n\n", "x".repeat(50))),
        refused
    );
}

#[test]
fn a_stream_that_goes_on_keeps_the_id_it_began_with() {
    let mut parser = Parser::new(Limits::default()).with_last_event_id("41");
    assert_eq!(parser.last_event_id(), "41");
    let mut input = "data: a\n\nid: 42\ndata: b\n\nretry: 5\n".into();
    assert_eq!(parser.next(&mut input).unwrap().unwrap().id, "41");
    assert_eq!(parser.next(&mut input).unwrap().unwrap().id, "42");
    assert!(parser.next(&mut input).unwrap().is_none());
    assert_eq!(parser.last_event_id(), "42");
    assert_eq!(parser.retry(), Some(Duration::from_millis(5)));
}

proptest! {
    #[test]
    fn how_a_stream_is_cut_makes_no_difference(
        text in "(data|event|id|retry|x|:|\u{feff}|: |a|é|\0|\r|\n|\r\n|\n\n|7){0,40}",
        cuts in proptest::collection::vec(0_usize..200, 0..8),
    ) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&bytes[start..cut]);
            start = cut;
        }
        pieces.push(&bytes[start..]);
        let limits = Limits::default();
        prop_assert_eq!(parse(&pieces, limits), parse(&[bytes], limits));
    }
}
