//! The same test, shuffled.

use std::{
    any::Any,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use crate::net::MockNet;

/// Runs one seed instead of a range of them.
const ONE: &str = "HTTPCORE_SEED";
/// Number of seeds to run, from the beginning of each range.
const MANY: &str = "HTTPCORE_SEEDS";

/// Runs `test` in a world of its own for each seed; see [`MockNet::seeded`] for what a seed
/// decides. When one fails, it says which. That seed alone repeats the failure exactly.
///
/// The environment may choose otherwise: `HTTPCORE_SEED=17` runs that seed alone, and
/// `HTTPCORE_SEEDS=10000` runs 10000 seeds, from the beginning of the range.
///
/// Each world is cleared at the end, so that servers and tasks may hold a handle to it.
///
/// ```
/// use httpcore_net_mock::seeds;
///
/// seeds(0..20, |net| {
///     let (_client, mut server) = net.pair();
///     net.spawn("writer", async move { server.write_all("hello").await.unwrap() });
///     net.run_until_idle();
///     assert_eq!(net.live_counts().tasks, 0);
/// });
/// ```
///
/// # Panics
///
/// As `test` does, and when the environment holds something other than numbers.
pub fn seeds(range: Range<u64>, test: impl Fn(MockNet)) {
    for seed in chosen(range, |name| std::env::var(name).ok()) {
        let net = MockNet::seeded(seed);
        let outcome = catch_unwind(AssertUnwindSafe(|| test(net.clone())));
        net.clear();
        if let Err(panic) = outcome {
            fail_again(
                panic,
                &format!("failed with seed {seed}; to run it alone: {ONE}={seed}"),
            );
        }
    }
}

/// Goes on panicking, after saying where it was. The message carries it too, for those who catch.
pub(crate) fn fail_again(panic: Box<dyn Any + Send>, place: &str) -> ! {
    eprintln!("{place}");
    let message = match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.as_str(),
        (None, Some(text)) => text,
        (None, None) => resume_unwind(panic),
    };
    resume_unwind(Box::new(format!("{message}\n{place}")))
}

/// The seeds to run, after a look at the environment.
fn chosen(range: Range<u64>, variable: impl Fn(&str) -> Option<String>) -> Range<u64> {
    let number = |name: &str| {
        variable(name).map(|text| match text.trim().parse::<u64>() {
            Ok(number) => number,
            Err(_) => panic!("{name} is to be a number, and is {text:?}"),
        })
    };
    if let Some(one) = number(ONE) {
        return one..one.saturating_add(1);
    }
    match number(MANY) {
        Some(many) => range.start..range.start.saturating_add(many),
        None => range,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_one_seed_or_many() {
        let none = |_: &str| None;
        assert_eq!(chosen(5..9, none), 5..9);
        let many = |name: &str| (name == MANY).then(|| "100".to_owned());
        assert_eq!(chosen(5..9, many), 5..105);
        let both = |_: &str| Some("17".to_owned());
        assert_eq!(chosen(5..9, both), 17..18);
    }
}
