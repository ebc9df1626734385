//! Our instructions by crate: the crate of the function that contains them. Inlined code counts for the
//! containing function.

use std::{collections::BTreeMap, path::Path, process::Command};

use xtask::steps::output;

/// The workloads that are profiled.
pub(crate) const PROFILED: [&str; 5] = ["h1", "h1-fields", "https-64", "h2c-100", "connect"];

/// Prefixes of function names, and the titles of their groups.
const CRATES: [(&str, &str); 12] = [
    ("httpcore_proto_h1::", "proto-h1"),
    ("httpcore_proto_h2::", "proto-h2"),
    ("httpcore_pool::", "pool"),
    ("httpcore_net_epoll::", "net-epoll"),
    ("httpcore_net_tls::", "net-tls"),
    ("httpcore_core_primitives::", "core-primitives"),
    ("httpcore::", "httpcore"),
    ("httparse::", "httparse"),
    ("http::", "http"),
    ("h2::", "h2"),
    ("rustls::", "rustls, ring"),
    ("ring", "rustls, ring"),
];
const COPIES: &str = "memcpy and similar";
const HEAP: &str = "malloc and free";
const REST: &str = "other code, including the program";

/// All groups, in the order of the table.
pub(crate) const GROUPS: [&str; 14] = [
    "proto-h1",
    "proto-h2",
    "pool",
    "net-epoll",
    "net-tls",
    "core-primitives",
    "httpcore",
    "httparse",
    "http",
    "h2",
    "rustls, ring",
    COPIES,
    HEAP,
    REST,
];

/// Instructions by group.
pub(crate) type Profile = BTreeMap<&'static str, f64>;

/// Returns the instructions of each of `n` requests: the difference of two runs, whose counts callgrind
/// has written into these files.
///
/// # Errors
///
/// If they cannot be read.
pub(crate) fn difference(once: &Path, twice: &Path, n: u64) -> Result<Profile, String> {
    let read = |file: &Path| {
        let printed = output(
            Command::new("callgrind_annotate")
                .args(["--threshold=100", "--show-percs=no", "--auto=no"])
                .arg(file),
        )?;
        Ok::<_, String>(groups(&printed))
    };
    let (once, mut twice) = (read(once)?, read(twice)?);
    for (group, count) in &mut twice {
        *count = (*count - once.get(group).copied().unwrap_or(0.0)) / n as f64;
    }
    Ok(twice)
}

/// Parses the table of callgrind_annotate: `1,234  file:function [object]`.
fn groups(printed: &str) -> Profile {
    let mut groups = Profile::new();
    for line in printed.lines() {
        let Some((count, rest)) = line.trim_start().split_once(' ') else {
            continue;
        };
        let (Ok(count), Some((file, function))) =
            (count.replace(',', "").parse::<f64>(), rest.split_once(':'))
        else {
            continue;
        };
        *groups.entry(group(file, function)).or_default() += count;
    }
    groups
}

fn group(file: &str, function: &str) -> &'static str {
    let is_one_of = |names: &[&str]| names.iter().any(|name| function.contains(name));
    if file.contains("malloc/") || is_one_of(&["__rust_alloc", "__rust_dealloc"]) {
        return HEAP;
    }
    // `<httpcore_pool::… as httpcore_core_primitives::…>` is the pool's.
    let found = CRATES.iter().filter_map(|(begin, title)| {
        let at = function.match_indices(begin).map(|(at, _)| at).find(|at| {
            let before = function[..*at].chars().next_back();
            before.is_none_or(|before| !before.is_alphanumeric() && before != '_')
        });
        Some((at?, *title))
    });
    if let Some((_, title)) = found.min_by_key(|(at, _)| *at) {
        return title;
    }
    if is_one_of(&["memcpy", "memmove", "memset", "memcmp", "bcmp"]) {
        return COPIES;
    }
    REST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_belongs_to_the_crate_it_names_first() {
        let printed = "\
Profile data file 'callgrind.out' (creator: callgrind-3.19.0)
1,000  PROGRAM TOTALS
  400  a/state.rs:<httpcore_pool::State as httpcore_core_primitives::Reclaim>::give [a/ours]
   90  /rustc/x/library/core/src/ptr/mod.rs:core::ptr::drop_in_place<http::HeaderMap> [a/ours]
   50  ./string/../x86_64/memmove.S:__memcpy_avx_unaligned_erms [/usr/lib/libc.so.6]
   30  ./malloc/./malloc/malloc.c:_int_free [/usr/lib/libc.so.6]
   20  ???:ring_core_0_17_14__gcm_init [a/ours]
   10  a/ours.rs:ours::main [a/ours]
";
        let expected = [
            ("pool", 400.0),
            ("http", 90.0),
            (COPIES, 50.0),
            (HEAP, 30.0),
            ("rustls, ring", 20.0),
            (REST, 10.0),
        ];
        assert_eq!(groups(printed), expected.into());
        assert!(CRATES.iter().all(|(_, title)| GROUPS.contains(title)));
    }
}
