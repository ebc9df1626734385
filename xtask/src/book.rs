//! The guides as a book, built with mdBook into `target/book`, and its links.
//!
//! Examples are compiled and run by the documentation tests of `tests/src/lib.rs`, so that this step
//! needs no compiled crate.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use xtask::steps::{Outcome, Report, cargo, execute, find, root, target};

/// The version that is installed where none is. It takes about 80 s of processor time to build,
/// without optimization and without its server.
const VERSION: &str = "0.5.4";

pub(crate) fn run() -> Outcome {
    let mut report = Report::default();
    let summary = read("docs/guides/src/SUMMARY.md")?;
    let tests = read("tests/src/lib.rs")? + &read("tests/integrations/src/lib.rs")?;
    let has_examples = |chapter: &str| {
        read(&format!("docs/guides/src/{chapter}")).is_ok_and(|text| text.contains("```rust"))
    };
    let untested = untested(&summary, &tests, has_examples);
    if !untested.is_empty() {
        let chapters = untested.join(", ");
        return Err(format!(
            "examples are not tested in tests/src/lib.rs: {chapters}"
        ));
    }
    let mdbook = match mdbook() {
        Ok(found) => found,
        Err(error) => {
            report.leave_out(format!(
                "the book, since mdBook cannot be installed ({error}); its examples are tested by `test`, \
                 and its links to files by `tidy`"
            ));
            return Ok(report);
        }
    };
    let book = target().join("book");
    execute(
        Command::new(mdbook)
            .arg("build")
            .arg(root().join("docs/guides"))
            .arg("--dest-dir")
            .arg(&book),
    )?;
    let pages = pages(&book)?;
    let problems = dead_links(&pages, |path| book.join(path).is_file());
    for problem in &problems {
        eprintln!("      {problem}");
    }
    if !problems.is_empty() {
        return Err(format!("{} dead links", problems.len()));
    }
    report.note = format!("{} pages in {}", pages.len(), book.display());
    Ok(report)
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))
}

/// The chapters in `summary` that have examples and that the documentation tests in `tests` do not
/// include.
fn untested<'a>(
    summary: &'a str,
    tests: &str,
    has_examples: impl Fn(&str) -> bool,
) -> Vec<&'a str> {
    let chapters = summary
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let is_missing =
        |chapter: &&str| has_examples(chapter) && !tests.contains(&format!("/{chapter}\""));
    chapters.filter(is_missing).collect()
}

/// Returns mdBook. It is installed under `target/` if it is not in the path.
fn mdbook() -> Result<PathBuf, String> {
    let tools = target().join("tools");
    let installed = tools.join("bin/mdbook");
    if let Some(found) = find("mdbook") {
        return Ok(found);
    }
    if !installed.is_file() {
        execute(
            cargo()
                .args(["install", "--locked", "--no-default-features", "mdbook"])
                .args(["--version", VERSION, "--root"])
                .arg(&tools)
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
        )?;
    }
    Ok(installed)
}

/// Returns the HTML of each page, by its file name.
fn pages(book: &Path) -> Result<BTreeMap<String, String>, String> {
    let entries = fs::read_dir(book).map_err(|error| format!("{}: {error}", book.display()))?;
    let mut pages = BTreeMap::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // One page with everything, whose links are those of the others; and the table of contents.
        if !name.ends_with(".html") || ["print.html", "toc.html", "404.html"].contains(&&*name) {
            continue;
        }
        let html = fs::read_to_string(entry.path()).map_err(|error| format!("{name}: {error}"))?;
        pages.insert(name, html);
    }
    Ok(pages)
}

/// Reports links within the book that lead nowhere: to a missing file, or to a missing heading. Links
/// to other hosts are not followed.
fn dead_links(
    pages: &BTreeMap<String, String>,
    is_file: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let mut problems = BTreeSet::new();
    for (name, html) in pages {
        for link in attributes(html, "href") {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { name } else { file };
            match pages.get(file) {
                Some(page) => {
                    if !heading.is_empty() && !attributes(page, "id").any(|id| id == heading) {
                        problems.insert(format!("{name}: no such heading: {link}"));
                    }
                }
                None if is_file(file) => {}
                None => {
                    problems.insert(format!("{name}: no such page: {link}"));
                }
            }
        }
    }
    problems
}

/// The values of an attribute.
fn attributes<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!(" {name}=\"");
    html.match_indices(&begin)
        .map(|(at, begin)| &html[at + begin.len()..])
        .map(|rest| &rest[..rest.find('"').unwrap_or(rest.len())])
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chapter_whose_examples_are_not_tested_is_reported() {
        let summary = "# Summary\n- [One](one.md)\n- [Two](two.md)\n- [Table](table.md)\n";
        let tests = "#[doc = include_str!(\"../../docs/guides/src/one.md\")]";
        let has_examples = |chapter: &str| chapter != "table.md";
        assert_eq!(untested(summary, tests, has_examples), ["two.md"]);
    }

    #[test]
    fn a_link_to_a_missing_page_or_heading_is_reported() {
        let one = "<a href=\"two.html#there\"></a> <a href=\"#here\"></a> <h2 id=\"here\"></h2>\
                   <a href=\"https://example.org/x\"></a> <link href=\"style.css\">\
                   <a href=\"two.html#gone\"></a> <a href=\"../README.md\"></a>";
        let pages = [("one.html", one), ("two.html", "<h2 id=\"there\"></h2>")]
            .map(|(name, html)| (name.to_owned(), html.to_owned()))
            .into();
        let problems = dead_links(&pages, |path| path == "style.css");
        assert_eq!(
            Vec::from_iter(problems),
            [
                "one.html: no such heading: two.html#gone",
                "one.html: no such page: ../README.md"
            ]
        );
    }
}
