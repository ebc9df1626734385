//! `unsafe` code is in one file only.

use proc_macro2::{TokenStream, TokenTree};

use super::{Sources, metadata::Package};

/// The file that may contain `unsafe` code: it reads into memory not yet written.
const ALLOWED_FILE: &str = "crates/net-common/src/spare.rs";
/// The crate of that file, which cannot forbid `unsafe` code.
const ALLOWED_CRATE: &str = "httpcore-net-common";

pub(crate) fn check(packages: &[Package], sources: &Sources) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in sources {
        if !path.ends_with(".rs") || path == ALLOWED_FILE {
            continue;
        }
        match text.parse() {
            Ok(tokens) => {
                let lines = lines_with_unsafe(tokens);
                problems.extend(lines.iter().map(|line| {
                    format!("{path}:{line}: `unsafe` is allowed in {ALLOWED_FILE} only")
                }));
            }
            Err(error) => problems.push(format!("{path}: not Rust: {error}")),
        }
    }
    for package in packages
        .iter()
        .filter(|package| package.name != ALLOWED_CRATE)
    {
        for target in package.targets_of(&["lib", "bin"]) {
            let forbids = sources
                .get(&target.src_path)
                .is_some_and(|text| text.lines().any(|line| line == "#![forbid(unsafe_code)]"));
            if !forbids {
                problems.push(format!("{}: no `#![forbid(unsafe_code)]`", target.src_path));
            }
        }
    }
    problems
}

/// Returns the lines with the keyword, not counting comments and strings.
fn lines_with_unsafe(tokens: TokenStream) -> Vec<usize> {
    let mut lines = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => lines.extend(lines_with_unsafe(group.stream())),
            TokenTree::Ident(ident) if ident == "unsafe" => lines.push(ident.span().start().line),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::metadata::Target;

    fn sources(path: &str, text: &str) -> Sources {
        [(path.to_owned(), text.to_owned())].into()
    }

    #[test]
    fn keyword_is_found_in_every_syntactic_place() {
        for text in [
            "fn f() { unsafe { g() } }",
            "unsafe impl Send for X {}",
            "macro_rules! m { () => { unsafe { g() } } }",
            "#[unsafe(no_mangle)] fn f() {}",
        ] {
            assert_eq!(
                check(&[], &sources("crates/pool/src/a.rs", text)).len(),
                1,
                "{text}"
            );
        }
    }

    #[test]
    fn comments_strings_and_the_allowed_file_may_contain_it() {
        let text = "//! unsafe\n/* unsafe */ const A: &str = \"unsafe\"; const B: char = '\\''; \
                    const C: &str = r#\"unsafe\"#; #[deny(unsafe_code)] fn f<'a>() {}";
        assert_eq!(
            check(&[], &sources("crates/pool/src/a.rs", text)),
            Vec::<String>::new()
        );
        assert_eq!(
            check(&[], &sources(ALLOWED_FILE, "unsafe fn f() {}")),
            Vec::<String>::new()
        );
    }

    #[test]
    fn crate_that_does_not_forbid_it_is_reported() {
        let package = |name: &str| Package {
            name: name.into(),
            targets: vec![Target {
                kind: vec!["lib".into()],
                src_path: "a/lib.rs".into(),
            }],
            ..Package::default()
        };
        let lax = sources("a/lib.rs", "//! Docs.\n");
        let strict = sources("a/lib.rs", "//! Docs.\n\n#![forbid(unsafe_code)]\n");
        assert_eq!(check(&[package("httpcore-pool")], &lax).len(), 1);
        assert_eq!(
            check(&[package("httpcore-pool")], &strict),
            Vec::<String>::new()
        );
        assert_eq!(check(&[package(ALLOWED_CRATE)], &lax), Vec::<String>::new());
    }
}
