//! Checks that compilers do not make.
//!
//! Each check is a function from the files to the problems found, so that its tests can pass it a fault.

mod citations;
mod edges;
mod manifests;
pub(crate) mod metadata;
mod text;
mod tree;
mod unsafe_code;
mod words;

use std::{collections::BTreeMap, fs, process::Command};

use xtask::steps::{Outcome, Report, output, root};

/// The text files of the repository, including those not yet added, by path.
pub(crate) type Sources = BTreeMap<String, String>;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let sources = sources()?;
    if arguments.iter().any(|argument| argument == "--rfcs") {
        print!("{}", citations::list(&sources));
        return Ok(Report::default());
    }
    let packages = metadata::packages()?;
    let checks = [
        ("dependencies", edges::check(&packages)),
        ("manifests", manifests::check(&packages, &sources)),
        ("unsafe", unsafe_code::check(&packages, &sources)),
        ("citations", citations::check(&sources)),
        ("text", text::check(&sources)),
        ("tree", tree::check(&packages)?),
        ("words", words::check(&sources)),
    ];
    let mut total = 0;
    for (name, problems) in &checks {
        println!("    {name}: {} problems", problems.len());
        for problem in problems {
            eprintln!("      {problem}");
        }
        total += problems.len();
    }
    if total > 0 {
        return Err(format!("{total} problems"));
    }
    let note = format!(
        "{} files, {} citations, {}",
        sources.len(),
        citations::count(&sources),
        tree::note(&packages)?
    );
    Ok(Report::note(note))
}

fn sources() -> Result<Sources, String> {
    let root = root();
    let list = output(
        Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(&root),
    )?;
    let paths = list.split('\0').filter(|path| !path.is_empty());
    let text = |path: &str| fs::read_to_string(root.join(path)).ok();
    Ok(paths
        .filter_map(|path| Some((path.to_owned(), text(path)?)))
        .collect())
}
