//! Plain text: white space, leftovers, names of machines and folders, links.

use std::path::{Component, Path, PathBuf};

use super::Sources;

/// Hosts of package registries: where packages are fetched from depends on the machine. The names are
/// split so that this file passes.
const HOSTS: [&str; 7] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("pypi.", "org"),
    concat!("files.python", "hosted.org"),
    concat!("registry.", "npmjs.org"),
    concat!("deb.", "debian.org"),
    concat!("proxy.", "golang.org"),
];

/// Folders of one machine or one user.
const HOMES: [&str; 5] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("../", "shared"),
];

/// Marks of unfinished work, which must carry the number of an issue.
const PROMISES: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
];

/// Marks of an unfinished merge.
const MERGE_MARKS: [&str; 3] = [
    concat!("<<<<", "<<< "),
    concat!("||||", "||| "),
    concat!(">>>>", ">>> "),
];

pub(crate) fn check(sources: &Sources) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in sources {
        // Texts of others, and test data that is meant to be bytes.
        let name = path.rsplit('/').next().unwrap_or(path);
        if name.starts_with("LICENSE-") || path.starts_with("fuzz/corpus/") {
            continue;
        }
        if path.ends_with(".md") {
            problems.extend(dead_links(path, text, sources));
        }
        if path.ends_with("Cargo.lock") {
            continue; // written by cargo; `deny` checks the sources it names
        }
        for (number, line) in (1..).zip(text.split('\n')) {
            if let Some(fault) = fault(path, line) {
                problems.push(format!("{path}:{number}: {fault}"));
            }
        }
        if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
            problems.push(format!("{path}: should end with one line end"));
        }
    }
    problems
}

fn fault(path: &str, line: &str) -> Option<String> {
    if line.ends_with([' ', '\t', '\r']) {
        return Some("white space at the end of the line".into());
    }
    if MERGE_MARKS.iter().any(|mark| line.starts_with(mark)) {
        return Some("the mark of an unfinished merge".into());
    }
    if line.contains('\t') && !path.ends_with("Makefile") {
        return Some("a tab".into());
    }
    for promise in PROMISES {
        if let Some((before, after)) = line.split_once(promise) {
            let is_word = !before.ends_with(char::is_alphanumeric)
                && !after.starts_with(char::is_alphanumeric);
            let has_number = after
                .strip_prefix("(#")
                .is_some_and(|after| after.starts_with(|c: char| c.is_ascii_digit()));
            if is_word && !has_number {
                return Some(format!("{promise} without the number of an issue"));
            }
        }
    }
    if let Some(host) = HOSTS.iter().find(|host| line.contains(**host)) {
        return Some(format!("names the registry host {host}"));
    }
    let home = HOMES.iter().find(|home| {
        let mut places = line.match_indices(**home);
        // `://host/home/` is a link, and `a/home/` a path inside something.
        places.any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '.'))
    });
    home.map(|home| format!("names a folder of one machine: {home}"))
}

/// Addresses of this repository's files.
const FORGE: [&str; 2] = [
    "https://github.com/httpcore-rs/httpcore/blob/main/",
    "https://github.com/httpcore-rs/httpcore/tree/main/",
];

/// Reports links to files that do not exist. Links to other hosts and to items are not checked.
fn dead_links(path: &str, text: &str, sources: &Sources) -> Vec<String> {
    let mut problems = Vec::new();
    let mut is_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        for (start, _) in line.match_indices("](") {
            let rest = &line[start + 2..];
            let target = &rest[..rest.find([')', ' ']).unwrap_or(rest.len())];
            let file = target.split('#').next().unwrap_or("");
            // Pages of the book name other files of the repository by their addresses on the forge.
            let own = FORGE.iter().find_map(|forge| file.strip_prefix(forge));
            let is_elsewhere =
                file.contains("://") || file.contains("::") || file.starts_with("mailto:");
            if file.is_empty() || is_elsewhere && own.is_none() {
                continue;
            }
            let whole = match own {
                Some(own) => own.to_owned(),
                None => normal(&Path::new(path).with_file_name("").join(file)),
            };
            let folder = format!("{whole}/");
            let is_there = sources.contains_key(&whole)
                || sources.keys().any(|path| path.starts_with(&folder));
            if !is_there {
                problems.push(format!("{path}:{number}: no such file: {file}"));
            }
        }
    }
    problems
}

/// `path` without `.` and `..`.
fn normal(path: &Path) -> String {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir => {}
            other => whole.push(other),
        }
    }
    whole.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str, text: &str) -> Vec<String> {
        check(&[(path.to_owned(), text.to_owned())].into())
    }

    #[test]
    fn each_fault_is_reported() {
        for text in [
            "trailing \n",
            "a\ttab\n",
            "windows\r\n",
            "no end",
            "two ends\n\n",
            concat!("// TO", "DO: later\n"),
            concat!("// TO", "DO(alice): later\n"),
            concat!("// FIX", "ME\n"),
            concat!("fetch https://pypi.", "org/simple\n"),
            concat!("see /ho", "me/alice/x\n"),
            concat!("(/wo", "rk/x)\n"),
            concat!("<<<<", "<<< HEAD\n"),
            concat!(">>>>", ">>> branch\n"),
        ] {
            assert_eq!(one("a.rs", text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn text_that_resembles_a_fault_passes() {
        for text in [
            "",
            concat!("// TO", "DO(#12): later\n"),
            "fn todos() {}\n",
            concat!("https://example.org/ho", "me/page\n"),
            "published on crates.io\n",
        ] {
            assert_eq!(one("a.rs", text), Vec::<String>::new(), "{text:?}");
        }
    }

    #[test]
    fn link_to_a_missing_file_is_reported() {
        let page = "[a](../README.md) [b](other.md#part) [c](https://example.org) [d](#here)\n\
                    [e](../crates/) [f](Type::method) [g](gone.md)\n\
                    [h](https://github.com/httpcore-rs/httpcore/tree/main/crates)\n\
                    [i](https://github.com/httpcore-rs/httpcore/blob/main/gone.rs)\n";
        let sources = [
            ("docs/page.md", page),
            ("docs/other.md", ""),
            ("README.md", "```\n[x](nowhere)\n```\n"),
            ("crates/a.rs", ""),
        ];
        let sources = sources
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into();
        assert_eq!(
            check(&sources),
            [
                "docs/page.md:2: no such file: gone.md",
                "docs/page.md:4: no such file: https://github.com/httpcore-rs/httpcore/blob/main/gone.rs"
            ]
        );
    }
}
