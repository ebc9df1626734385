//! How many requests may be sent again: a bucket of tokens, filled by time and by requests.

use std::time::{Duration, Instant};

use crate::config::RetryBudget;

/// For how long what has accumulated is kept.
const WINDOW: Duration = Duration::from_secs(10);

/// One request more, in the unit of the bucket.
const ONE: u64 = 1_000_000_000;

/// The bucket. It is looked at only when a request is to be sent again, and filled then.
#[derive(Debug)]
pub(crate) struct Bucket {
    budget: Option<RetryBudget>,
    tokens: u64,
    /// About how many requests there were in the last ten seconds.
    recent: u64,
    /// When it was filled last, and how many requests there had been.
    filled: Option<(Instant, u64)>,
}

impl Bucket {
    pub(crate) fn new(budget: Option<RetryBudget>) -> Self {
        Bucket {
            budget,
            tokens: 0,
            recent: 0,
            filled: None,
        }
    }

    /// Takes one token, if there is one. `requests` is the number of requests since the beginning.
    pub(crate) fn take(&mut self, requests: u64, now: Instant) -> bool {
        let Some(budget) = self.budget else {
            return true;
        };
        let (elapsed, new) = match self.filled.replace((now, requests)) {
            Some((at, before)) => (
                now.saturating_duration_since(at),
                requests.saturating_sub(before),
            ),
            // It begins full.
            None => (WINDOW, requests),
        };
        let window = WINDOW.as_nanos();
        let passed = elapsed.min(WINDOW).as_nanos();
        // Of the requests since then, those of the last ten seconds, if they came evenly.
        let new = match elapsed > WINDOW {
            true => u128::from(new) * window / elapsed.as_nanos(),
            false => u128::from(new),
        };
        let kept = u128::from(self.recent) * (window - passed) / window;
        self.recent = u64::try_from(kept + new).unwrap_or(u64::MAX);
        let per_second = u64::from(budget.per_second);
        let share = u64::from(budget.percent) * (ONE / 100);
        let by_time = per_second.saturating_mul(u64::try_from(passed).unwrap_or(u64::MAX));
        let by_requests = share.saturating_mul(u64::try_from(new).unwrap_or(u64::MAX));
        let most = (10 * ONE)
            .saturating_mul(per_second)
            .saturating_add(share.saturating_mul(self.recent));
        let filled = self.tokens.saturating_add(by_time);
        self.tokens = filled.saturating_add(by_requests).min(most);
        match self.tokens.checked_sub(ONE) {
            Some(rest) => {
                self.tokens = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)] // the only way to create an `Instant`
    fn start() -> Instant {
        Instant::now()
    }

    fn taken(bucket: &mut Bucket, requests: u64, now: Instant) -> usize {
        (0..100_000)
            .take_while(|_| bucket.take(requests, now))
            .count()
    }

    #[test]
    fn time_fills_the_bucket_for_ten_seconds_and_no_longer() {
        let mut bucket = Bucket::new(Some(RetryBudget::new(0, 10)));
        let now = start();
        assert_eq!(taken(&mut bucket, 0, now), 100);
        let later = now + Duration::from_millis(450);
        assert_eq!(taken(&mut bucket, 0, later), 4);
        // The half that was left over counts.
        let later = later + Duration::from_millis(50);
        assert_eq!(taken(&mut bucket, 0, later), 1);
        let hour = later + Duration::from_secs(3600);
        assert_eq!(taken(&mut bucket, 0, hour), 100);
    }

    #[test]
    fn requests_fill_the_bucket_by_their_share() {
        let mut bucket = Bucket::new(Some(RetryBudget::new(10, 0)));
        let now = start();
        assert_eq!(taken(&mut bucket, 55, now), 5);
        assert_eq!(taken(&mut bucket, 1_055, now + Duration::from_secs(1)), 100);
        // Of a thousand requests in a hundred seconds, the last hundred.
        let later = now + Duration::from_secs(101);
        assert_eq!(taken(&mut bucket, 2_055, later), 10);
    }

    #[test]
    fn without_a_budget_all_may_be_sent_again_and_with_an_empty_one_none() {
        let now = start();
        assert_eq!(taken(&mut Bucket::new(None), 0, now), 100_000);
        let mut empty = Bucket::new(Some(RetryBudget::new(0, 0)));
        assert_eq!(taken(&mut empty, 1_000_000, now), 0);
    }
}
