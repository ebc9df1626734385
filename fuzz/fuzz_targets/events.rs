//! Events are what a plain reading of the standard makes of a stream, however it is cut.

#![no_main]

use std::time::Duration;

use bytes::Bytes;
use httpcore_sse::{Limits, Parser};
use libfuzzer_sys::fuzz_target;

/// Events as name, id and data; then the last id, and the wish for a pause.
type Read = (Vec<[String; 3]>, String, Option<Duration>);

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut parser = Parser::new(Limits::default().with_max_event_size(usize::MAX));
    let mut events = Vec::new();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(event) = parser.next(&mut input).expect("there is no limit") {
            events.push([event.name.into_owned(), event.id, event.data]);
        }
    }
    (events, parser.last_event_id().to_owned(), parser.retry())
}

/// HTML standard, 9.2.6, with all of the stream at hand.
fn plainly(bytes: &[u8]) -> Read {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut events = Vec::new();
    let (mut name, mut data, mut id) = (String::new(), String::new(), String::new());
    let (mut last_id, mut retry) = (String::new(), None);
    let mut lines: Vec<_> = text.split('\n').collect();
    // What is behind the last line end is no line.
    lines.pop();
    for line in lines {
        if line.is_empty() {
            last_id.clone_from(&id);
            let name = std::mem::take(&mut name);
            let mut data = std::mem::take(&mut data);
            if data.pop().is_some() {
                let name = if name.is_empty() {
                    "message".to_owned()
                } else {
                    name
                };
                events.push([name, last_id.clone(), data]);
            }
            continue;
        }
        if line.starts_with(':') {
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                if let Ok(time) = value.parse() {
                    retry = Some(Duration::from_millis(time));
                }
            }
            _ => {}
        }
    }
    (events, last_id, retry)
}

fuzz_target!(|bytes: &[u8]| {
    let expected = plainly(bytes);
    assert_eq!(read([bytes]), expected);
    assert_eq!(read(bytes.chunks(1)), expected);
    assert_eq!(read(bytes.chunks(3)), expected);
});
