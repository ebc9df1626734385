//! The cases of `responses.txt`, which says how they are written.

/// One response.
#[derive(Debug)]
pub(crate) struct Case {
    /// The rule, with its section.
    pub(crate) rule: &'static str,
    /// Method and fields of the request.
    pub(crate) request: &'static str,
    /// Bytes of the response.
    pub(crate) bytes: Vec<u8>,
    /// Number of bytes before the mark, if there is one.
    pub(crate) mark: Option<usize>,
    /// Events, or the name of the error.
    pub(crate) verdict: Result<&'static str, &'static str>,
}

/// Returns all cases.
pub(crate) fn responses() -> Vec<Case> {
    let text = include_str!("responses.txt");
    let mut lines = text.lines().skip_while(|line| !line.starts_with("# "));
    let mut cases = Vec::new();
    while let Some(line) = lines.next() {
        let Some(rule) = line.strip_prefix("# ") else {
            assert_eq!(line, "", "between cases");
            continue;
        };
        let case = lines.next().and_then(|line| line.split_once(" < "));
        let (request, response) = case.unwrap_or_else(|| panic!("{rule}: no response"));
        let verdict = lines.next().unwrap_or_default();
        let (before, after) = response.split_once('¦').unwrap_or((response, ""));
        let bytes = [unescape(before), unescape(after)].concat();
        cases.push(Case {
            rule,
            request,
            bytes,
            mark: response.contains('¦').then(|| unescape(before).len()),
            verdict: match (verdict.strip_prefix("= "), verdict.strip_prefix("! ")) {
                (Some(told), None) => Ok(told),
                (None, Some(violation)) => Err(violation),
                _ => panic!("{rule}: no verdict: {verdict}"),
            },
        });
    }
    cases
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            assert!(c.is_ascii(), "{text}: write {c} as bytes");
            bytes.push(c as u8);
            continue;
        }
        bytes.push(match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("{text}: \\x{digits}"))
            }
            other => panic!("{text}: \\{other:?}"),
        });
    }
    bytes
}
