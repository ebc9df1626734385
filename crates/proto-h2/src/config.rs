//! What may be set.

use std::time::Duration;

/// The settings of HTTP/2 connections.
///
/// ```
/// use httpcore_proto_h2::Config;
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.keep_alive_interval = Some(Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How many bytes of one response's body may be on their way or unread (RFC 9113 §6.9.2).
    ///
    /// 2 MiB by default: what a path of 160 Mbit/s and 100 ms holds. With the 64 KiB of the RFC, the
    /// same path would carry 5 Mbit/s.
    pub stream_window: u32,
    /// The same for all responses of a connection together.
    ///
    /// 5 MiB by default: a response which nobody reads keeps its own window full, and beside two of
    /// those a third still finds room.
    pub connection_window: u32,
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
    pub max_interim: usize,
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
    pub keep_alive_deadline: Duration,
    /// How long a body waits for the `100 (Continue)` which its request expects, before it is sent
    /// all the same (RFC 9110 §10.1.1: the server may never answer). One second by default.
    pub continue_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            stream_window: 2 << 20,
            connection_window: 5 << 20,
            adaptive_window: false,
            max_frame_size: 16 << 10,
            header_table_size: USUAL_TABLE,
            max_header_list_size: 64 << 10,
            max_interim: 32,
            max_streams: 1000,
            max_send_buffer: 256 << 10,
            keep_alive_interval: None,
            keep_alive_deadline: Duration::from_secs(20),
            continue_wait: Duration::from_secs(1),
        }
    }
}

/// RFC 9113 §6.5.2: what holds while nothing is said.
const USUAL_TABLE: u32 = 4096;
const LARGEST_TABLE: u32 = 64 << 10;

/// RFC 9113 §6.9.1
pub(crate) const LARGEST_WINDOW: u32 = (1 << 31) - 1;

impl Config {
    /// h2's own settings, for these. What RFC 9113 §6.5.2 forbids is brought within its bounds.
    pub(crate) fn builder(&self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(self.stream_window.min(LARGEST_WINDOW))
            .initial_connection_window_size(
                self.connection_window.clamp((64 << 10) - 1, LARGEST_WINDOW),
            )
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
