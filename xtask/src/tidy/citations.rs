//! Citations of RFCs in one form, `RFC 9112 §6.3`, so that they can be listed.

use super::Sources;

/// A mention of an RFC in a comment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Citation {
    number: u32,
    /// Empty for the whole document.
    section: String,
}

/// The documents that the project uses. A new one is added here, so that typing errors are found.
const KNOWN: &[u32] = &[
    791, 919, 1034, 1035, 1112, 1122, 1123, 1918, 1928, 1929, 1945, 1961, 2068, 2119, 2474, 2525,
    2544, 2616, 2817, 2818, 2928, 3056, 3168, 3490, 3492, 3493, 3849, 3927, 3986, 4291, 4648, 5234,
    5246, 5280, 5737, 5771, 5861, 5890, 5891, 5952, 6052, 6066, 6125, 6265, 6298, 6335, 6454, 6455,
    6555, 6585, 6598, 6724, 6761, 6874, 6890, 6928, 7230, 7231, 7235, 7301, 7413, 7450, 7526, 7535,
    7540, 7541, 7578, 7616, 7617, 7692, 7725, 7838, 8297, 8305, 8336, 8441, 8446, 8470, 8615, 8740,
    8879, 8941, 8996, 9000, 9110, 9111, 9112, 9113, 9114, 9218, 9220, 9293, 9460, 9525, 9637, 9651,
    9931,
];

pub(crate) fn check(sources: &Sources) -> Vec<String> {
    let found = all(sources);
    let problem = |(place, citation): (String, Result<Citation, String>)| {
        Some(format!("{place}: {}", citation.err()?))
    };
    found.into_iter().filter_map(problem).collect()
}

pub(crate) fn count(sources: &Sources) -> usize {
    all(sources)
        .iter()
        .filter(|(_, citation)| citation.is_ok())
        .count()
}

/// Returns every citation, ordered by document and section.
pub(crate) fn list(sources: &Sources) -> String {
    let mut found: Vec<_> = all(sources)
        .into_iter()
        .filter_map(|(place, citation)| Some((citation.ok()?, place)))
        .collect();
    found.sort();
    let line = |(citation, place): &(Citation, String)| {
        let mut section = citation.section.clone();
        if !section.is_empty() {
            section.insert(0, '§');
        }
        format!("RFC {} {section:<10} {place}\n", citation.number)
    };
    found.iter().map(line).collect()
}

fn all(sources: &Sources) -> Vec<(String, Result<Citation, String>)> {
    let mut found = Vec::new();
    for (path, text) in sources {
        if !path.ends_with(".rs") || path.starts_with("xtask/") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            if let Some((_, comment)) = line.split_once("//") {
                let place = format!("{path}:{number}");
                found.extend(
                    in_comment(comment)
                        .into_iter()
                        .map(|citation| (place.clone(), citation)),
                );
            }
        }
    }
    found
}

/// Returns the citations of one line, well-formed or not.
fn in_comment(comment: &str) -> Vec<Result<Citation, String>> {
    let lower = comment.to_ascii_lowercase();
    let mut found = Vec::new();
    for (start, _) in lower.match_indices("rfc") {
        let before = comment[..start].chars().next_back();
        // Part of a link or of a name.
        if before.is_some_and(|before| before.is_alphanumeric() || "/_-".contains(before)) {
            continue;
        }
        let rest = comment[start + 3..].trim_start_matches([' ', '-', '_', '#', ':']);
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        if digits > 0 {
            found.push(parse(&comment[start..], &rest[digits..], &rest[..digits]));
        }
    }
    found
}

/// Parses a citation. `whole` is the rest of the line from its beginning: `RFC`, `digits`, `after`.
fn parse(whole: &str, after: &str, digits: &str) -> Result<Citation, String> {
    let shown: String = whole.chars().take(24).collect();
    let malformed = || Err(format!("`{shown}`: write it as `RFC 9112 §6.3`"));
    if !whole.starts_with(&format!("RFC {digits}")) {
        return malformed();
    }
    let number = digits.parse().unwrap_or(0);
    if !KNOWN.contains(&number) {
        return Err(format!(
            "`{shown}`: not among the RFCs known to xtask/src/tidy/citations.rs"
        ));
    }
    let after_lower = after
        .trim_start_matches([' ', ',', '(', '#'])
        .to_ascii_lowercase();
    if let Some(section) = after.strip_prefix(" §") {
        let length = section
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
            .unwrap_or(section.len());
        let section = section[..length].trim_end_matches('.');
        let parts = || section.split('.');
        let is_well_formed = !section.is_empty()
            && parts().all(|part| !part.is_empty())
            && parts()
                .skip(1)
                .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_well_formed {
            return malformed();
        }
        return Ok(Citation {
            number,
            section: section.into(),
        });
    }
    if after_lower.starts_with('§') || after_lower.starts_with("sec") {
        return malformed();
    }
    Ok(Citation {
        number,
        section: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(comment: &str) -> Sources {
        [(
            "crates/a/src/b.rs".to_owned(),
            format!("let a; // {comment}\n"),
        )]
        .into()
    }

    #[test]
    fn citations_are_found_and_listed_in_order() {
        let sources = sources("RFC 9112 §6.3: a rule; RFC 8305 as a whole; RFC 9110 §B.1.");
        assert_eq!(check(&sources), Vec::<String>::new());
        assert_eq!(
            list(&sources),
            "RFC 8305            crates/a/src/b.rs:1\n\
             RFC 9110 §B.1       crates/a/src/b.rs:1\n\
             RFC 9112 §6.3       crates/a/src/b.rs:1\n"
        );
        assert_eq!(count(&sources), 3);
    }

    #[test]
    fn other_spellings_are_reported() {
        for comment in [
            "RFC9112 §6.3",
            "rfc 9112 §6.3",
            "RFC-9112 §6.3",
            "RFC 9112§6.3",
            "RFC 9112, §6.3",
            "RFC 9112 § 6.3",
            "RFC 9112 §§6.3",
            "RFC 9112 §6..3",
            "RFC 9112 §6.b",
            "RFC 9112 section 6.3",
            "RFC 9112, Section 6.3",
            "RFC 9122 §6.3",
        ] {
            assert_eq!(check(&sources(comment)).len(), 1, "{comment}");
        }
    }

    #[test]
    fn links_and_names_are_not_citations() {
        for comment in [
            "see https://example.org/rfc/rfc9112#section-6.3",
            "perfc 1",
            "an RFC",
        ] {
            assert_eq!(all(&sources(comment)), Vec::new(), "{comment}");
        }
    }
}
