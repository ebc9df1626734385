//! The picture of the demo in the README: its output as text in an SVG, light or dark as the reader's
//! screen is.

use std::{fmt::Write, fs};

use xtask::steps::{Outcome, Report, cargo, output, root};

const PATH: &str = "docs/demo.svg";

/// Width of a character, in the units of the picture.
const WIDTH: usize = 8;
/// Distance between two lines.
const HEIGHT: usize = 18;
const MARGIN: usize = 16;

/// Runs the demo, or takes its output from a file.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let text = match arguments {
        [] => output(cargo().args([
            "run",
            "--release",
            "--locked",
            "-q",
            "-p",
            "httpcore-cli",
            "--",
            "demo",
        ]))?,
        [file, ..] => fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?,
    };
    let picture = svg("cargo run --release -p httpcore-cli -- demo", &text);
    fs::write(root().join(PATH), picture).map_err(|error| format!("{PATH}: {error}"))?;
    Ok(Report::note(PATH))
}

/// Returns a picture of a terminal with `command` and its output.
fn svg(command: &str, text: &str) -> String {
    let prompt = format!("$ {command}");
    let lines: Vec<&str> = [prompt.as_str(), ""]
        .into_iter()
        .chain(text.trim_end().lines())
        .collect();
    let columns = lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let (width, height) = (
        columns * WIDTH + 2 * MARGIN,
        lines.len() * HEIGHT + 2 * MARGIN,
    );
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"Output of the demo\">\n<style>\n\
         rect {{ fill: #f6f8fa }} text {{ fill: #1f2328; font: 13px ui-monospace, monospace; white-space: pre }}\n\
         @media (prefers-color-scheme: dark) {{ rect {{ fill: #161b22 }} text {{ fill: #e6edf3 }} }}\n\
         </style>\n<rect width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n"
    );
    for (row, line) in lines.iter().enumerate() {
        if line.is_empty() {
            continue;
        }
        let y = MARGIN + row * HEIGHT + 13;
        let length = line.chars().count() * WIDTH;
        let line = line.replace('&', "&amp;").replace('<', "&lt;");
        // The length is set, so that columns align whichever font there is. Writing to a `String`
        // does not fail.
        let _ = writeln!(
            picture,
            "<text x=\"{MARGIN}\" y=\"{y}\" textLength=\"{length}\" xml:space=\"preserve\">{line}</text>"
        );
    }
    picture.push_str("</svg>\n");
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_output_is_a_line_of_the_picture() {
        let picture = svg("demo", "one\n\n<two> & three\n");
        assert!(picture.contains("viewBox=\"0 0 136 122\""), "{picture}");
        assert!(picture.contains(">$ demo</text>") && picture.contains(">one</text>"));
        assert!(picture.contains(">&lt;two> &amp; three</text>"));
        assert_eq!(picture.matches("<text ").count(), 3);
    }
}
