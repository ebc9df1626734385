//! The size of the windows of streams: a response that is not read never holds back another, and
//! the unread data stays within one bound.
//!
//! The connection's window is that bound. It never limits before the streams' windows do if those
//! of all open streams fit into it, however full each of them is. A stream keeps what it has
//! received when windows shrink; what counts for it is therefore the largest window that it has
//! had, and the more streams are open, the smaller is the window for all that follow:
//!
//! ```text
//!   streams open   1 .. n    .. 2n    .. 4n    .. 8n   …
//!   window            w       w/s      w/2s     w/4s   …     s: steps up to the most streams
//!   of the bound     1/3     1/3s      1/3s     1/3s   …     the last third is left for h2
//! ```
//!
//! h2 returns the connection's window only when half of what the server has been granted has been
//! read, and so the server may be granted two thirds of it.

use crate::config::Http2Config;

/// The windows of streams, and the number of streams that may have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) window: u32,
    pub(crate) most: u32,
}

#[derive(Debug)]
pub(crate) struct Shares {
    /// A third of the connection's window.
    third: u32,
    /// The window of a stream while there are few.
    window: u32,
    /// Maximum number of concurrent streams.
    streams: u32,
}

impl Shares {
    pub(crate) fn new(config: &Http2Config) -> Self {
        let third = config.most_buffered() / 3;
        Shares {
            third,
            window: config.stream_window.clamp(1, third),
            streams: u32::try_from(config.most_streams()).unwrap_or(u32::MAX),
        }
    }

    /// Sets the window of a stream while there are few.
    pub(crate) fn widen(&mut self, window: u32) {
        self.window = window.clamp(1, self.third);
    }

    /// Returns the window if `streams` streams are open.
    pub(crate) fn of(&self, streams: u32) -> Share {
        let few = (self.third / self.window).max(1);
        let mut share = Share {
            window: self.window,
            most: few,
        };
        if streams <= few {
            return share;
        }
        let mut steps = 1;
        while few.saturating_mul(1 << steps) < self.streams && steps < 24 {
            steps += 1;
        }
        share.most = few.saturating_mul(2);
        share.window = self.third / few / steps;
        while share.most < streams {
            share.most = share.most.saturating_mul(2);
            share.window /= 2;
        }
        share.window = share.window.clamp(1, self.window);
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_come_one_by_one_and_are_not_read_fit_into_the_bound() {
        for (window, bound) in [
            (2 << 20, 64 << 20),
            (65_535, 64 << 20),
            (16 << 20, 64 << 20),
            (2 << 20, 1 << 20),
        ] {
            let config = Http2Config {
                stream_window: window,
                max_buffered_per_connection: bound,
                ..Http2Config::default()
            };
            let shares = Shares::new(&config);
            let (mut sum, mut last) = (0, u32::MAX);
            for streams in 1..=1000 {
                let share = shares.of(streams);
                assert!(share.most >= streams && share.window <= last);
                last = share.window;
                // Each of those that it was computed for may have been opened when there were that
                // many.
                sum += u64::from(share.window);
            }
            assert!(sum <= u64::from(bound / 3 * 2) + 1000, "{sum} of {bound}");
            assert!(last > 50, "{last} of {bound}");
        }
    }

    #[test]
    fn few_streams_have_the_window_that_was_set() {
        let shares = Shares::new(&Http2Config::default());
        let ten = Share {
            window: 2 << 20,
            most: 10,
        };
        assert_eq!((shares.of(1), shares.of(10)), (ten, ten));
        assert!(shares.of(11).window < 2 << 20);
    }
}
