//! The URL of a proxy, and a list of `NO_PROXY` with a host. Input is two lines: URL and host, then the list.
//!
//! No input panics, what is accepted is printed without credentials and read back as the same proxy, and hosts that
//! differ in case or in a trailing dot are treated alike.

#![no_main]

use httpcore_proxy::{NoProxy, Proxy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (line, list) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(proxy) = line.parse::<Proxy>() {
        let printed = proxy.to_string();
        assert!(!printed.contains('@'), "{printed}");
        let again: Proxy = printed.parse().expect("it is printed as a URL");
        assert_eq!(
            (again.protocol(), again.address()),
            (proxy.protocol(), proxy.address())
        );
    }
    let rules = NoProxy::new(list);
    let matches = rules.matches(line, 80);
    assert_eq!(rules.matches(&line.to_ascii_uppercase(), 80), matches);
    assert!(NoProxy::new(&format!("{list},*")).matches(line, 80));
});
