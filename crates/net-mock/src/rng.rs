//! Seeded random choices.

/// The random number generator of a world; without a seed, every choice is the default one.
#[derive(Debug, Default)]
pub(crate) struct Rng(Option<Seeded>);

#[derive(Debug)]
struct Seeded {
    seed: u64,
    state: u64,
    profile: FaultProfile,
}

/// The faults that a seed injects. Each is enabled for some seeds only, so that one fault does not
/// hide what another would find: a spurious wake-up can make up for a lost one.
#[derive(Clone, Copy, Debug)]
struct FaultProfile {
    short_reads: bool,
    short_writes: bool,
    spurious_pending: bool,
    spurious_wakes: bool,
}

impl Rng {
    pub(crate) fn seeded(seed: u64) -> Self {
        let mut rng = Seeded {
            seed,
            state: seed,
            profile: FaultProfile {
                short_reads: false,
                short_writes: false,
                spurious_pending: false,
                spurious_wakes: false,
            },
        };
        rng.profile = FaultProfile {
            short_reads: rng.below(2) == 0,
            short_writes: rng.below(2) == 0,
            spurious_pending: rng.below(2) == 0,
            spurious_wakes: rng.below(2) == 0,
        };
        Rng(Some(rng))
    }

    pub(crate) fn seed(&self) -> Option<u64> {
        self.0.as_ref().map(|rng| rng.seed)
    }

    /// Which of `count` ready tasks runs next.
    pub(crate) fn random_below(&mut self, count: usize) -> usize {
        match &mut self.0 {
            Some(rng) if count > 1 => rng.below(count),
            _ => 0,
        }
    }

    /// Returns the number of bytes to read of `most`, `most` being at least 1.
    pub(crate) fn read_len(&mut self, most: usize) -> usize {
        self.cut(most, |profile| profile.short_reads)
    }

    /// Returns the number of bytes to write of `most`, `most` being at least 1.
    pub(crate) fn write_len(&mut self, most: usize) -> usize {
        self.cut(most, |profile| profile.short_writes)
    }

    /// Returns whether an operation that could complete is pending once first.
    pub(crate) fn spurious_pending(&mut self) -> bool {
        self.chance(8, |profile| profile.spurious_pending)
    }

    /// Which of `count` registered wakers to call without reason, if any.
    pub(crate) fn spurious_wake(&mut self, count: usize) -> Option<usize> {
        if count > 0 && self.chance(8, |profile| profile.spurious_wakes) {
            return Some(self.random_below(count));
        }
        None
    }

    fn cut(&mut self, most: usize, of: fn(&FaultProfile) -> bool) -> usize {
        if !self.chance(3, of) {
            return most;
        }
        match &mut self.0 {
            // Mostly a few bytes: cuts inside a head are worth more than cuts in a body.
            Some(rng) => most.min(1 + rng.below(16)),
            None => most,
        }
    }

    fn chance(&mut self, count: usize, of: fn(&FaultProfile) -> bool) -> bool {
        match &mut self.0 {
            Some(rng) if of(&rng.profile) => rng.below(count) == 0,
            _ => false,
        }
    }
}

impl Seeded {
    /// SplitMix64: small, and good enough to shuffle with.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_makes_the_same_choices() {
        let throw = |seed| {
            let mut rng = Rng::seeded(seed);
            (0..50)
                .map(|_| {
                    (
                        rng.random_below(7),
                        rng.read_len(100),
                        rng.spurious_pending(),
                    )
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(throw(3), throw(3));
        assert_ne!(throw(3), throw(4));
    }

    #[test]
    fn without_a_seed_every_choice_is_the_default() {
        let mut rng = Rng::default();
        for _ in 0..100 {
            assert_eq!(
                (
                    rng.random_below(9),
                    rng.read_len(50),
                    rng.write_len(50),
                    rng.spurious_pending(),
                    rng.spurious_wake(3)
                ),
                (0, 50, 50, false, None)
            );
        }
    }
}
