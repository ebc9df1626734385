//! The list of extensions in either direction (RFC 6455 §9.1).

use http::HeaderValue;

/// An extension as it was offered or selected. No extension is offered by default; the caller that
/// offers one implements it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Name, a token.
    pub name: String,
    /// Its parameters in their order, some with a value.
    pub parameters: Vec<(String, Option<String>)>,
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}

/// The extensions which `values` list; `None` if they are no such list.
pub(crate) fn parse<'a>(
    values: impl IntoIterator<Item = &'a HeaderValue>,
) -> Option<Vec<Extension>> {
    let mut extensions = Vec::new();
    for value in values {
        let mut rest = value.to_str().ok()?;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            let (extension, after) = extension(rest)?;
            extensions.push(extension);
            rest = after;
        }
    }
    Some(extensions)
}

/// One extension, up to the comma behind it.
fn extension(text: &str) -> Option<(Extension, &str)> {
    let (name, mut rest) = token(text)?;
    let mut parameters = Vec::new();
    loop {
        rest = blank(rest);
        if rest.is_empty() || rest.starts_with(',') {
            let name = name.to_owned();
            return Some((Extension { name, parameters }, rest));
        }
        let (parameter, after) = token(blank(rest.strip_prefix(';')?))?;
        rest = blank(after);
        let mut value = None;
        if let Some(after) = rest.strip_prefix('=') {
            let (text, after) = token_or_quoted(blank(after))?;
            value = Some(text);
            rest = after;
        }
        parameters.push((parameter.to_owned(), value));
    }
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text
        .bytes()
        .position(|byte| !is_token(&[byte]))
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// RFC 6455 §9.1: what is quoted must be a token once the quotes are gone.
fn token_or_quoted(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = token(text)?;
        return Some((token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return is_token(value.as_bytes()).then(|| (value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(values: &[&'static str]) -> Option<String> {
        let values: Vec<_> = values
            .iter()
            .map(|value| HeaderValue::from_static(value))
            .collect();
        let extensions = parse(&values)?;
        let told = extensions.into_iter().map(|extension| {
            let parameters = extension.parameters.into_iter();
            let parameters = parameters.map(|(name, value)| match value {
                Some(value) => format!(" {name}={value}"),
                None => format!(" {name}"),
            });
            extension.name + &parameters.collect::<String>()
        });
        Some(told.collect::<Vec<_>>().join(" / "))
    }

    #[test]
    fn lists_are_read_as_the_grammar_has_them() {
        for (values, expected) in [
            (&[][..], Some("")),
            (&["a"], Some("a")),
            (&["a, b;c=d"], Some("a / b c=d")),
            (&["a", "b"], Some("a / b")),
            (&[" , a ;b = c; d,"], Some("a b=c d")),
            (&["a; b=\"c\\d\""], Some("a b=cd")),
            (&["a; b=\"c,d\""], None), // no token, quoted or not
            (&["a; b=\"c"], None),
            (&["a; b="], None),
            (&["a;"], None),
            (&["a b"], None),
            (&[";a"], None),
            (&["a=b"], None),
            (&["\"a\""], None),
        ] {
            assert_eq!(told(values).as_deref(), expected, "{values:?}");
        }
    }
}
