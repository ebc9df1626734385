//! What a client must keep to, frame by frame.

use bytes::{Bytes, BytesMut};

use super::{Peer, Stream, settings};
use crate::h2_peer::{
    frames::{Frame, flag, kind, setting},
    hpack::Field,
    record::Received,
};

impl Peer {
    /// Checks a frame against the rules. `None` if it is part of a field block that goes on.
    pub(super) fn judge(&mut self, frame: Frame) -> Option<Received> {
        let length = frame.payload.len();
        assert!(
            length <= self.frame_size,
            "RFC 9113 §4.2: {frame:?} is too long"
        );
        assert!(
            self.has_settings || frame.kind == kind::SETTINGS,
            "RFC 9113 §3.4: {frame:?} before SETTINGS"
        );
        if let Some((first, _)) = &self.open_block {
            let goes_on = frame.kind == kind::CONTINUATION && frame.stream == first.stream;
            assert!(
                goes_on,
                "RFC 9113 §6.10: {frame:?} among the fields of {first:?}"
            );
        }
        match frame.kind {
            kind::DATA => Some(self.judge_data(frame)),
            kind::HEADERS => {
                self.judge_opening(&frame);
                let block = BytesMut::from(unpadded(&frame, "HEADERS").as_ref());
                self.open_block = Some((frame, block));
                self.close_block()
            }
            kind::CONTINUATION => {
                let (first, block) = self
                    .open_block
                    .as_mut()
                    .expect("RFC 9113 §6.10: of nothing");
                block.extend_from_slice(&frame.payload);
                first.flags |= frame.flags & flag::END_HEADERS;
                self.close_block()
            }
            kind::RST_STREAM => {
                assert_eq!(length, 4, "RFC 9113 §6.4");
                // RFC 9113 §6.8: what is above the last stream is ignored, even this, which h2 sends
                // for a stream that was given up before its head was written.
                let is_ignored = self.last.is_some_and(|last| frame.stream > last);
                assert!(
                    frame.stream <= self.newest || is_ignored,
                    "RFC 9113 §6.4: {frame:?} before it was opened"
                );
                self.streams.remove(&frame.stream);
                Some(plain(frame))
            }
            kind::SETTINGS => {
                self.has_settings = true;
                assert_eq!(frame.stream, 0, "RFC 9113 §6.5");
                if frame.has(flag::ACK) {
                    assert_eq!(length, 0, "RFC 9113 §6.5");
                    let values = self.unacknowledged.pop_front();
                    let values = values.expect("RFC 9113 §6.5.3: an acknowledgement of nothing");
                    self.apply(&values, |now, then| then < now);
                } else {
                    assert!(length.is_multiple_of(6), "RFC 9113 §6.5");
                    let values = settings(&frame);
                    let enables_push = (setting::ENABLE_PUSH, 1);
                    assert!(!values.contains(&enables_push), "pushes are not supported");
                    for (id, value) in values {
                        if id == setting::INITIAL_WINDOW_SIZE {
                            let change = i64::from(value) - self.initial_room;
                            self.initial_room += change;
                            let streams = self.streams.values_mut();
                            streams.for_each(|one| one.room += change);
                        }
                    }
                }
                Some(plain(frame))
            }
            kind::PING => {
                assert_eq!((length, frame.stream), (8, 0), "RFC 9113 §6.7");
                Some(plain(frame))
            }
            kind::GOAWAY => {
                assert!(length >= 8 && frame.stream == 0, "RFC 9113 §6.8");
                Some(plain(frame))
            }
            kind::WINDOW_UPDATE => {
                assert_eq!(length, 4, "RFC 9113 §6.9");
                assert_ne!(frame.number(0), Some(0), "RFC 9113 §6.9");
                assert!(
                    frame.stream <= self.newest,
                    "RFC 9113 §5.1: {frame:?} on an idle stream"
                );
                let credit = i64::from(frame.number(0).unwrap_or(0));
                match frame.stream {
                    0 => self.room += credit,
                    stream => {
                        if let Some(one) = self.streams.get_mut(&stream) {
                            one.room += credit;
                        }
                    }
                }
                Some(plain(frame))
            }
            _ => panic!("a client has no reason to send {frame:?}"),
        }
    }

    fn judge_data(&mut self, frame: Frame) -> Received {
        let data = unpadded(&frame, "DATA");
        let size = frame.payload.len() as i64;
        self.window -= size;
        assert!(
            self.window >= 0 || size == 0,
            "RFC 9113 §6.9: the connection's window is exceeded"
        );
        assert!(
            frame.stream != 0 && frame.stream <= self.newest,
            "RFC 9113 §6.1: {frame:?}"
        );
        // This end may have reset the stream, which the client need not know yet.
        if let Some(one) = self.streams.get_mut(&frame.stream) {
            assert!(
                !one.is_done,
                "RFC 9113 §5.1: {frame:?} after the end of its stream"
            );
            one.window -= size;
            assert!(
                one.window >= 0 || size == 0,
                "RFC 9113 §6.9: a stream's window is exceeded"
            );
        }
        self.note_end(&frame);
        Received {
            data,
            ..plain(frame)
        }
    }

    fn judge_opening(&mut self, frame: &Frame) {
        if let Some(one) = self.streams.get(&frame.stream) {
            assert!(
                !one.is_done,
                "RFC 9113 §5.1: {frame:?} after the end of its stream"
            );
            assert!(
                frame.has(flag::END_STREAM),
                "RFC 9113 §8.1: trailers end a stream"
            );
            return;
        }
        if frame.stream <= self.newest {
            return; // Trailers of a stream which this end has reset.
        }
        assert!(
            !frame.stream.is_multiple_of(2),
            "RFC 9113 §5.1.1: {frame:?}"
        );
        self.newest = frame.stream;
        self.streams.insert(
            frame.stream,
            Stream {
                window: self.initial_window,
                room: self.initial_room,
                owed: 0,
                is_done: false,
                is_answered: false,
            },
        );
        let most = self.most_streams.map_or(usize::MAX, |most| most as usize);
        let open = self.streams.len();
        assert!(
            open <= most,
            "RFC 9113 §5.1.2: {open} streams at once, and {most} are allowed"
        );
    }

    fn close_block(&mut self) -> Option<Received> {
        let (frame, block) = self
            .open_block
            .take_if(|(first, _)| first.has(flag::END_HEADERS))?;
        let fields = self.decoder.decode(&block);
        let fields = fields.unwrap_or_else(|wrong| panic!("RFC 7541 §2: {wrong}"));
        judge_fields(&fields);
        self.note_end(&frame);
        Some(Received {
            fields: Some(fields),
            ..plain(frame)
        })
    }

    fn note_end(&mut self, frame: &Frame) {
        if !frame.has(flag::END_STREAM) {
            return;
        }
        if let Some(one) = self.streams.get_mut(&frame.stream) {
            one.is_done = true;
            if one.is_answered {
                self.streams.remove(&frame.stream);
            }
        }
    }
}

/// What a client's fields must look like (RFC 9113 §8.2, §8.3).
fn judge_fields(fields: &[Field]) {
    let mut is_regular = false;
    for (name, value) in fields {
        let is_pseudo = name.starts_with(':');
        assert!(
            !(is_pseudo && is_regular),
            "RFC 9113 §8.3: {name} behind a field"
        );
        is_regular |= !is_pseudo;
        assert!(
            !name.contains(|c: char| c.is_ascii_uppercase()),
            "RFC 9113 §8.2.1: {name}"
        );
        let is_clean = !value.contains(['\r', '\n', '\0']) && value.trim() == value;
        assert!(is_clean, "RFC 9113 §8.2.1: {name}: {value:?}");
        let of_connection = [
            "connection",
            "proxy-connection",
            "keep-alive",
            "transfer-encoding",
            "upgrade",
        ];
        assert!(
            !of_connection.contains(&&name[..]),
            "RFC 9113 §8.2.2: {name}"
        );
        assert!(
            name != "te" || value == "trailers",
            "RFC 9113 §8.2.2: te: {value}"
        );
    }
}

/// A frame's payload without padding and priority.
fn unpadded(frame: &Frame, name: &str) -> Bytes {
    let mut payload = frame.payload.clone();
    if frame.has(flag::PADDED) {
        let padding = usize::from(payload.split_to(1)[0]);
        assert!(
            padding <= payload.len(),
            "RFC 9113 §6.1: the padding of {name}"
        );
        payload.truncate(payload.len() - padding);
    }
    if frame.kind == kind::HEADERS && frame.has(flag::PRIORITY) {
        payload = payload.slice(5..);
    }
    payload
}

fn plain(frame: Frame) -> Received {
    Received {
        frame,
        fields: None,
        data: Bytes::new(),
    }
}
