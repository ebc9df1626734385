//! What may be set.

use std::time::Duration;

/// The settings of HTTP/2 connections.
///
/// ```
/// use httpcore_proto_h2::Http2Config;
/// use std::time::Duration;
///
/// let mut config = Http2Config::default();
/// config.keep_alive_interval = Some(Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http2Config {
    /// How many bytes of one response's body may be on their way or unread (RFC 9113 §6.9.2).
    ///
    /// 2 MiB by default: what a path of 160 Mbit/s and 100 ms holds. With the 64 KiB of the RFC, the
    /// same path would carry 5 Mbit/s.
    pub stream_window: u32,
    /// Maximum number of bytes of response bodies that one connection holds unread, all its streams
    /// together. 64 MiB by default; less than 64 KiB counts as that.
    ///
    /// The windows of streams adapt, so that what all open streams may send stays within this bound
    /// and a response that is not read never holds back another: while few streams are open, each
    /// has `stream_window` (but no more than a third of this bound), and the more are open at once,
    /// the smaller is the window of each. Beside these bytes, DATA frames of less than 256 bytes
    /// cost memory each; a quarter of this bound may be spent on that, which is 65,536 frames of one
    /// byte by default. A server that sends more than either bound allows is told so, and the
    /// connection ends.
    pub max_buffered_per_connection: u32,
    /// Whether windows grow when the path turns out to hold more than they let through. It is
    /// measured by PINGs while data comes. Off by default: it costs a PING for each round trip of
    /// a large download, and some servers count those.
    pub adaptive_window: bool,
    /// The largest frame which the server may send, in bytes (RFC 9113 §6.5.2). 16 KiB by default,
    /// the least there is: most servers send no larger ones, and a frame is what is held until it
    /// is complete.
    pub max_frame_size: u32,
    /// How many bytes of fields the server may refer to again instead of sending them again
    /// (HEADER_TABLE_SIZE, RFC 9113 §6.5.2). 4,096 by default, as without it; 0 for none. It is memory of
    /// each connection, and so 64 KiB is the most that is asked for.
    pub header_table_size: u32,
    /// How large the fields of a head, or of trailers, may be, counted as RFC 9113 §6.5.2 does.
    /// 64 KiB by default, as over HTTP/1.1.
    pub max_header_list_size: u32,
    /// How many interim responses may precede a response. 32 by default: one or two are usual, and
    /// a server that sends 102 for a minute needs a few more. All of their fields together may be
    /// as large as those of one head.
    pub max_informational: usize,
    /// How many exchanges a connection carries at once, though the server may admit more. 1,000 by
    /// default: servers which name no limit mean to have one, and a frame of each of a thousand
    /// streams is a fair share of memory.
    pub max_streams: usize,
    /// How many bytes of one request's body are taken before they are written. 256 KiB by default:
    /// enough to fill a path while the body's owner is asked for more.
    pub max_send_buffer: usize,
    /// After how much silence the server is asked for a sign of life, by a PING (RFC 9113 §6.7), idle
    /// connections too. Not at all by default: servers may take PINGs amiss, and an idle connection
    /// does not live long.
    pub keep_alive_interval: Option<Duration>,
    /// How long that sign may take, from the decision to ask; so that a server which takes in
    /// nothing any more is found out as well. 20 s by default: a few lost packets.
    pub keep_alive_timeout: Duration,
    /// How long a connection may stay silent once it is suspected to be dead; then it is closed, and
    /// what waits for responses on it fails. 3 s by default.
    ///
    /// A connection is suspect when a request ends by a time limit, or is dropped before the head of
    /// its response, and not a byte has come since it was sent (or since the last piece of its
    /// response came). From then on it admits no new requests, which go over another connection (if
    /// the request was dropped, after another half a second of silence), and
    /// the server is asked for a sign of life by a PING: at once, but no sooner than 5 s after the
    /// last time it was asked for this reason. The time counts from then, whether the PING can be
    /// written or not. Any byte that comes ends the suspicion.
    ///
    /// Zero closes a suspect connection without waiting for an answer. With `None`, no connection is
    /// ever suspect.
    pub suspect_timeout: Option<Duration>,
    /// How long a body waits for the `100 (Continue)` which its request expects, before it is sent
    /// all the same (RFC 9110 §10.1.1: the server may never answer). One second by default.
    pub expect_continue_timeout: Duration,
}

impl Default for Http2Config {
    fn default() -> Self {
        Http2Config {
            stream_window: 2 << 20,
            max_buffered_per_connection: 64 << 20,
            adaptive_window: false,
            max_frame_size: 16 << 10,
            header_table_size: USUAL_TABLE,
            max_header_list_size: 64 << 10,
            max_informational: 32,
            max_streams: 1000,
            max_send_buffer: 256 << 10,
            keep_alive_interval: None,
            keep_alive_timeout: Duration::from_secs(20),
            suspect_timeout: Some(Duration::from_secs(3)),
            expect_continue_timeout: Duration::from_secs(1),
        }
    }
}

/// RFC 9113 §6.5.2: what holds while nothing is said.
const USUAL_TABLE: u32 = 4096;
const LARGEST_TABLE: u32 = 64 << 10;

/// RFC 9113 §6.9.1
pub(crate) const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// RFC 9113 §6.9.2: the connection's window is so large at first, and SETTINGS cannot change that.
const LEAST_WINDOW: u32 = (64 << 10) - 1;

impl Http2Config {
    /// How many bytes the connection's window admits.
    pub(crate) fn most_buffered(&self) -> u32 {
        self.max_buffered_per_connection
            .clamp(LEAST_WINDOW, LARGEST_WINDOW)
    }

    /// h2's own settings, for these. What RFC 9113 §6.5.2 forbids is brought within its bounds.
    pub(crate) fn builder(&self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(self.stream_window.clamp(1, self.most_buffered() / 3))
            .initial_connection_window_size(self.most_buffered())
            // h2 counts what a DATA frame lacks to 256 bytes, until the frame is read: about what
            // it costs to keep one.
            .data_frame_budget(self.most_buffered() as usize / 4)
            .max_frame_size(self.max_frame_size.clamp(16 << 10, (16 << 20) - 1))
            .max_header_list_size(self.max_header_list_size)
            .max_send_buffer_size(self.max_send_buffer.clamp(1, LARGEST_WINDOW as usize))
            // A stream that was given up is remembered for what is still on its way. A caller who
            // gives up many at once is no reason to end the connection.
            .max_concurrent_reset_streams(1024)
            .initial_max_send_streams(BEFORE_SETTINGS);
        if self.header_table_size != USUAL_TABLE {
            builder.header_table_size(self.header_table_size.min(LARGEST_TABLE));
        }
        builder
    }
}

/// How many streams h2 is told to admit until the server has said how many it does. No server can
/// say this number, and so it tells that none has been said.
pub(crate) const BEFORE_SETTINGS: usize = usize::MAX - 1;
