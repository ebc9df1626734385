//! One end of a connection: a server's.
//!
//! It says whatever it is told to, and holds the client to the rules: every frame it receives is
//! checked against the state in which the client must know the connection to be. A client that
//! breaks one fails the test, with the rule.

mod rules;

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind},
    time::Duration,
};

use bytes::BytesMut;
use httpcore_net_mock::ServerStream;

use super::{
    frames::{self, Frame, PREFACE, flag, kind, setting},
    hpack::Decoder,
    record::{Received, Record},
};

/// What every connection begins with, and streams too (RFC 9113 §6.9.2).
const INITIAL_WINDOW: i64 = 65_535;
const INITIAL_FRAME_SIZE: usize = 16_384;

/// What the peer knows of a stream of the client's.
#[derive(Debug)]
struct Stream {
    /// How much DATA the client may send.
    window: i64,
    /// How much DATA this end may send.
    room: i64,
    /// How much DATA is yet to be sent; then the stream ends.
    owed: usize,
    /// Whether the client has sent its last frame.
    is_done: bool,
    /// Whether this end has.
    is_answered: bool,
}

/// A server's end of a connection.
#[derive(Debug)]
pub struct Peer {
    stream: ServerStream,
    unread: BytesMut,
    record: Record,
    decoder: Decoder,
    /// Fields whose last frame has not come.
    open_block: Option<(Frame, BytesMut)>,
    streams: BTreeMap<u32, Stream>,
    /// The highest stream that was opened.
    newest: u32,
    window: i64,
    initial_window: i64,
    room: i64,
    initial_room: i64,
    frame_size: usize,
    most_streams: Option<u32>,
    /// SETTINGS which the client has not acknowledged. What they forbid is forbidden from then on.
    unacknowledged: VecDeque<Vec<(u16, u32)>>,
    /// The last stream, by this end's latest GOAWAY.
    last: Option<u32>,
    has_settings: bool,
    /// The client's SETTINGS which wait for this end's: nothing comes before those.
    to_acknowledge: usize,
    has_sent_settings: bool,
    /// Requests that have arrived and have not been taken.
    waiting: VecDeque<Received>,
}

impl Peer {
    /// Reads the preface.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    ///
    /// # Panics
    ///
    /// If the client begins with something else.
    pub async fn accept(mut stream: ServerStream, record: Record) -> io::Result<Self> {
        let preface = stream.read_exact(PREFACE.len()).await?;
        assert_eq!(preface, PREFACE, "RFC 9113 §3.4: not the preface");
        Ok(Peer {
            stream,
            unread: BytesMut::new(),
            record,
            decoder: Decoder::default(),
            open_block: None,
            streams: BTreeMap::new(),
            newest: 0,
            window: INITIAL_WINDOW,
            initial_window: INITIAL_WINDOW,
            room: INITIAL_WINDOW,
            initial_room: INITIAL_WINDOW,
            frame_size: INITIAL_FRAME_SIZE,
            most_streams: None,
            unacknowledged: VecDeque::new(),
            last: None,
            has_settings: false,
            to_acknowledge: 0,
            has_sent_settings: false,
            waiting: VecDeque::new(),
        })
    }

    /// What has come so far.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The stream below.
    pub fn stream(&self) -> &ServerStream {
        &self.stream
    }

    pub(crate) fn stream_mut(&mut self) -> &mut ServerStream {
        &mut self.stream
    }

    /// Gives up the stream below.
    pub fn into_stream(self) -> ServerStream {
        self.stream
    }

    /// Says these.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn send(&mut self, frames: &[Frame]) -> io::Result<()> {
        for frame in frames {
            self.note_sent(frame);
        }
        self.send_bytes(&frames::encode(frames)).await?;
        while self.has_sent_settings && self.to_acknowledge > 0 {
            self.to_acknowledge -= 1;
            self.send_bytes(&frames::encode(&[frames::settings_ack()]))
                .await?;
        }
        Ok(())
    }

    /// Says this, whatever it means.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn send_bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(4096));
            self.stream.write_all(now).await?;
            self.record.note_bytes(now.len());
            bytes = later;
        }
        Ok(())
    }

    /// The next frame; `None` at the end. Fields that are continued count as one frame.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    ///
    /// # Panics
    ///
    /// If the client breaks a rule.
    pub async fn next(&mut self) -> io::Result<Option<Received>> {
        loop {
            while let Some(frame) = Frame::take(&mut self.unread) {
                if let Some(received) = self.judge(frame) {
                    self.record.note(received.clone());
                    return Ok(Some(received));
                }
            }
            let bytes = self.stream.read_some().await?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.unread.extend_from_slice(&bytes);
        }
    }

    /// The next frame that is of interest, acknowledging SETTINGS and answering PINGs until then.
    ///
    /// # Errors
    ///
    /// Those of the connection; [`ErrorKind::UnexpectedEof`] if it ends before.
    pub async fn until(&mut self, such: impl Fn(&Received) -> bool) -> io::Result<Received> {
        loop {
            let received = self.next().await?.ok_or(ErrorKind::UnexpectedEof)?;
            self.acknowledge(&received).await?;
            let found = such(&received);
            if self.is_new_request(&received) {
                self.waiting.push_back(received.clone());
            }
            if found {
                return Ok(received);
            }
        }
    }

    /// The next request whose fields have come, and which has not been asked for before.
    ///
    /// # Errors
    ///
    /// As for [`until`](Self::until).
    pub async fn request(&mut self) -> io::Result<Received> {
        loop {
            if let Some(request) = self.waiting.pop_front() {
                return Ok(request);
            }
            self.until(|received| received.frame.kind == kind::HEADERS)
                .await?;
        }
    }

    /// The requests which have come already, and which have not been asked for.
    pub fn waiting(&mut self) -> Vec<Received> {
        self.waiting.drain(..).collect()
    }

    /// Waits until the client has sent the last frame of a stream.
    ///
    /// # Errors
    ///
    /// As for [`until`](Self::until).
    pub async fn end_of(&mut self, stream: u32) -> io::Result<()> {
        let is_done = |this: &Self| this.streams.get(&stream).is_none_or(|one| one.is_done);
        while !is_done(self) {
            self.until(|received| received.frame.stream == stream)
                .await?;
        }
        Ok(())
    }

    /// Waits, acknowledging SETTINGS and answering PINGs, and giving back credit for DATA.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn wait(&mut self, time: Duration) -> io::Result<()> {
        let mut sleep = std::pin::pin!(self.stream.sleep(time));
        loop {
            let next = {
                let mut next = std::pin::pin!(self.next());
                std::future::poll_fn(|cx| {
                    use std::{future::Future, task::Poll};
                    if let Poll::Ready(next) = next.as_mut().poll(cx) {
                        return Poll::Ready(Some(next));
                    }
                    sleep.as_mut().poll(cx).map(|()| None)
                })
                .await
            };
            let Some(next) = next else { return Ok(()) };
            let received = next?.ok_or(ErrorKind::UnexpectedEof)?;
            self.acknowledge(&received).await?;
            self.give_credit(&received).await?;
            if self.is_new_request(&received) {
                self.waiting.push_back(received);
            }
        }
    }

    /// Queues `count` bytes on `stream`, and then its end, as far and as soon as windows
    /// allow.
    fn owe(&mut self, stream: u32, size: usize) {
        if let Some(one) = self.streams.get_mut(&stream) {
            one.owed = size;
        }
    }

    /// Sends what is owed, a frame of each stream in turn.
    async fn pay(&mut self) -> io::Result<()> {
        loop {
            let mut frames = Vec::new();
            let mut room = self.room;
            for (stream, one) in &mut self.streams {
                let most = room.min(one.room).clamp(0, INITIAL_FRAME_SIZE as i64);
                let now = one.owed.min(most as usize);
                if now == 0 {
                    continue;
                }
                room -= now as i64;
                one.owed -= now;
                let frame = frames::data(*stream, vec![b'x'; now]);
                frames.push(if one.owed == 0 { frame.end() } else { frame });
            }
            if frames.is_empty() {
                return Ok(());
            }
            self.send(&frames).await?;
        }
    }

    /// Answers requests with `answer` until the client closes, and otherwise behaves correctly. Streams
    /// that were taken before are left alone. A request for `/bytes/N` gets N bytes after `answer`, as
    /// windows allow.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn serve(&mut self, answer: impl Fn(&Received) -> Vec<Frame>) -> io::Result<()> {
        let mut asked = BTreeMap::new();
        loop {
            while let Some(request) = self.waiting.pop_front() {
                asked.insert(request.frame.stream, request);
            }
            let ready = |(stream, _): &(&u32, &Received)| {
                self.streams.get(stream).is_none_or(|one| one.is_done)
            };
            if let Some(stream) = asked.iter().find(ready).map(|(stream, _)| *stream) {
                if let Some(request) = asked.remove(&stream)
                    && self.streams.contains_key(&stream)
                {
                    self.send(&answer(&request)).await?;
                    let target = request.field(":path").unwrap_or_default();
                    if let Some(size) = target.strip_prefix("/bytes/") {
                        let size = size.parse().map_err(|_| ErrorKind::InvalidInput)?;
                        self.owe(stream, size);
                    }
                }
                continue;
            }
            self.pay().await?;
            let Some(received) = self.next().await? else {
                return Ok(());
            };
            self.acknowledge(&received).await?;
            self.give_credit(&received).await?;
            if self.is_new_request(&received) {
                self.waiting.push_back(received);
            }
        }
    }

    /// The next frame, after which nothing is owed to the client: SETTINGS are acknowledged, PINGs
    /// answered, and credit for DATA given back. `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub async fn next_politely(&mut self) -> io::Result<Option<Received>> {
        let Some(received) = self.next().await? else {
            return Ok(None);
        };
        self.acknowledge(&received).await?;
        self.give_credit(&received).await?;
        Ok(Some(received))
    }

    async fn acknowledge(&mut self, received: &Received) -> io::Result<()> {
        let frame = &received.frame;
        match frame.kind {
            kind::SETTINGS if !received.is_ack() => {
                self.to_acknowledge += 1;
                self.send(&[]).await
            }
            kind::PING if !received.is_ack() => {
                let pong = Frame::new(kind::PING, flag::ACK, 0, frame.payload.clone());
                self.send(&[pong]).await
            }
            _ => Ok(()),
        }
    }

    async fn give_credit(&mut self, received: &Received) -> io::Result<()> {
        let size = received.frame.payload.len() as u32;
        if received.frame.kind != kind::DATA || size == 0 {
            return Ok(());
        }
        self.send(&[frames::window_update(0, size)]).await?;
        if received.is_end() || !self.streams.contains_key(&received.frame.stream) {
            return Ok(());
        }
        let update = frames::window_update(received.frame.stream, size);
        self.send(&[update]).await
    }

    fn is_new_request(&self, received: &Received) -> bool {
        received.frame.kind == kind::HEADERS && received.field(":method").is_some()
    }

    /// Takes note of what this end has said, as far as the client must heed it.
    fn note_sent(&mut self, frame: &Frame) {
        let is_last = frame.kind == kind::RST_STREAM
            || matches!(frame.kind, kind::DATA | kind::HEADERS) && frame.has(flag::END_STREAM);
        match frame.kind {
            kind::DATA => {
                let size = frame.payload.len() as i64;
                self.record.note_data(size as u64);
                self.room -= size;
                if let Some(one) = self.streams.get_mut(&frame.stream) {
                    one.room -= size;
                }
            }
            kind::WINDOW_UPDATE => {
                let credit = i64::from(frame.number(0).unwrap_or(0));
                match frame.stream {
                    0 => self.window += credit,
                    stream => {
                        if let Some(one) = self.streams.get_mut(&stream) {
                            one.window += credit;
                        }
                    }
                }
            }
            kind::GOAWAY => self.last = frame.number(0),
            kind::SETTINGS if !frame.has(flag::ACK) => {
                let values = settings(frame);
                // What is allowed is allowed once it may have been read.
                self.apply(&values, |now, then| then > now);
                self.unacknowledged.push_back(values);
                self.has_sent_settings = true;
            }
            _ => {}
        }
        if is_last && let Some(one) = self.streams.get_mut(&frame.stream) {
            one.is_answered = true;
            let is_gone = one.is_done || frame.kind == kind::RST_STREAM;
            if is_gone {
                self.streams.remove(&frame.stream);
            }
        }
    }

    fn apply(&mut self, values: &[(u16, u32)], such: impl Fn(i64, i64) -> bool) {
        for (id, value) in values {
            let value = i64::from(*value);
            match *id {
                setting::INITIAL_WINDOW_SIZE if such(self.initial_window, value) => {
                    let change = value - self.initial_window;
                    self.initial_window = value;
                    self.streams
                        .values_mut()
                        .for_each(|one| one.window += change);
                }
                setting::MAX_FRAME_SIZE if such(self.frame_size as i64, value) => {
                    self.frame_size = value as usize;
                }
                setting::MAX_CONCURRENT_STREAMS => {
                    let now = self.most_streams.map_or(i64::MAX, i64::from);
                    if such(now, value) {
                        self.most_streams = Some(value as u32);
                    }
                }
                setting::HEADER_TABLE_SIZE if such(self.decoder.size() as i64, value) => {
                    self.decoder.allow(value as usize);
                }
                _ => {}
            }
        }
    }
}

fn settings(frame: &Frame) -> Vec<(u16, u32)> {
    let pair = |pair: &[u8]| {
        let id = u16::from_be_bytes([pair[0], pair[1]]);
        (id, u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]))
    };
    frame.payload.chunks_exact(6).map(pair).collect()
}
