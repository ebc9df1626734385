//! Configuration.

use std::time::Duration;

/// Configuration of HTTP/2 connections.
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
    /// Maximum number of bytes of one response's body that are in flight or unread (RFC 9113
    /// §6.9.2).
    ///
    /// 2 MiB by default: the capacity of a path of 160 Mbit/s and 100 ms. With the 64 KiB of the
    /// RFC, the same path would carry 5 Mbit/s.
    pub stream_window: u32,
    /// Maximum number of bytes of response bodies that one connection holds unread, all its streams
    /// together. 64 MiB by default; less than 64 KiB counts as that.
    ///
    /// The windows of streams adapt, so that what all open streams may send stays within this bound
    /// and a response that is not read never holds back another: while few streams are open, each
    /// has `stream_window` (but no more than a third of this bound), and the more are open at once,
    /// the smaller is the window of each. Beside these bytes, DATA frames of less than 256 bytes
    /// cost memory each; a quarter of this bound may be spent on that, which is 65,536 frames of
    /// one byte by default. If a server sends more than either bound allows, the connection ends
    /// with GOAWAY.
    pub max_buffered_per_connection: u32,
    /// Lets windows grow when the path has more capacity than they admit. It is measured by PINGs
    /// while data arrives. Off by default: it costs a PING for each round trip of a large download,
    /// and some servers limit those.
    pub adaptive_window: bool,
    /// Maximum size of a frame that the server may send, in bytes (RFC 9113 §6.5.2). 16 KiB by
    /// default, the minimum: most servers send no larger ones, and a frame is held until it is
    /// complete.
    pub max_frame_size: u32,
    /// Size of the dynamic table for the fields of responses, in bytes (HEADER_TABLE_SIZE, RFC 9113
    /// §6.5.2). 4,096 by default, the RFC's default; 0 for no table. It is memory of each
    /// connection; more than 64 KiB counts as 64 KiB.
    pub header_table_size: u32,
    /// Maximum size of the fields of a head or of trailers, counted as in RFC 9113 §6.5.2. 64 KiB
    /// by default, as over HTTP/1.1. Beyond it, the exchange fails.
    pub max_header_list_size: u32,
    /// Maximum number of informational responses before the final one. 32 by default: one or two
    /// are usual, and a server that sends 102 for a minute needs a few more. All of their fields
    /// together may be as large as those of one head.
    pub max_informational: usize,
    /// Maximum number of concurrent exchanges on a connection, even if the server admits more.
    /// 1,000 by default: servers that declare no limit usually have one, and a frame of each of a
    /// thousand streams is a moderate amount of memory. 0 counts as 1.
    pub max_streams: usize,
    /// Maximum number of bytes of one request's body that are taken before they are written. 256
    /// KiB by default: enough to fill a path while the body is polled for more.
    pub max_send_buffer: usize,
    /// Time without a received byte after which the server is sent a PING (RFC 9113 §6.7), on idle
    /// connections too. None by default, which sends no PINGs: servers may limit them, and an idle
    /// connection does not live long.
    pub keep_alive_interval: Option<Duration>,
    /// Maximum time for the answer to a keep-alive PING, from the decision to send it, so that a
    /// server that no longer reads is found as well. Then the connection is closed. 20 s by
    /// default: a few lost packets.
    pub keep_alive_timeout: Duration,
    /// Maximum time without a received byte on a connection that is suspected to be dead; then it
    /// is closed, and the exchanges on it fail. 3 s by default.
    ///
    /// A connection is suspect when a request ends by a time limit, or is dropped before the head
    /// of its response, and no byte has arrived since it was sent (or since the last data of its
    /// response arrived). From then on it admits no new requests, which use another connection (if
    /// the request was dropped, after another half a second of silence), and the server is sent a
    /// PING: at once, but at least 5 s after the last PING for this reason. The time counts from
    /// then, whether the PING can be written or not. Any byte that arrives ends the suspicion.
    ///
    /// Zero closes a suspect connection without waiting for an answer. With `None`, no connection
    /// is ever suspect.
    pub suspect_timeout: Option<Duration>,
    /// Maximum time for which a body waits for the `100 (Continue)` that its request expects,
    /// before it is sent without it (RFC 9110 §10.1.1: the server may never send it). One second by
    /// default.
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

/// RFC 9113 §6.5.2: the default.
const USUAL_TABLE: u32 = 4096;
const LARGEST_TABLE: u32 = 64 << 10;

/// RFC 9113 §6.9.1
pub(crate) const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// RFC 9113 §6.9.2: the initial window of a connection, which SETTINGS cannot change.
const LEAST_WINDOW: u32 = (64 << 10) - 1;

impl Http2Config {
    /// Returns the window of the connection, in bytes.
    pub(crate) fn most_buffered(&self) -> u32 {
        self.max_buffered_per_connection
            .clamp(LEAST_WINDOW, LARGEST_WINDOW)
    }

    /// Returns the maximum number of concurrent exchanges, at least one.
    pub(crate) fn most_streams(&self) -> usize {
        self.max_streams.max(1)
    }

    /// Returns the settings for h2. Values that RFC 9113 §6.5.2 forbids are brought within its
    /// bounds.
    pub(crate) fn builder(&self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(self.stream_window.clamp(1, self.most_buffered() / 3))
            .initial_connection_window_size(self.most_buffered())
            // h2 counts what a DATA frame lacks to 256 bytes, until the frame is read: about the
            // memory that it costs.
            .data_frame_budget(self.most_buffered() as usize / 4)
            .max_frame_size(self.max_frame_size.clamp(16 << 10, (16 << 20) - 1))
            .max_header_list_size(self.max_header_list_size)
            .max_send_buffer_size(self.max_send_buffer.clamp(1, LARGEST_WINDOW as usize))
            // A stream that was reset is remembered for frames still in flight. A caller that
            // cancels many at once is no reason to end the connection.
            .max_concurrent_reset_streams(1024)
            .initial_max_send_streams(BEFORE_SETTINGS);
        if self.header_table_size != USUAL_TABLE {
            builder.header_table_size(self.header_table_size.min(LARGEST_TABLE));
        }
        builder
    }
}

/// Number of streams that h2 admits until the server has declared its limit. No server can declare
/// this number, and so it means that none has been declared.
pub(crate) const BEFORE_SETTINGS: usize = usize::MAX - 1;
