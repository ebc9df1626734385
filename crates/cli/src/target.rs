//! URLs as they are given on the command line.

use http::{HeaderMap, HeaderValue, Uri, header::AUTHORIZATION};

use crate::Exit;

/// A URL with a scheme and without user information, and the credentials it had.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) url: Uri,
    /// RFC 7617: the `Authorization` value for the user information of the URL. Not printed.
    credentials: Option<HeaderValue>,
}

impl Target {
    /// Parses `text`; `scheme` is the default scheme.
    ///
    /// # Errors
    ///
    /// If it is not a URL; the message has no user information.
    pub(crate) fn parse(text: &str, scheme: &str) -> Result<Self, Exit> {
        let text = match has_scheme(text) {
            true => text.to_owned(),
            false => format!("{scheme}://{text}"),
        };
        let (user, bare) = split_user(&text);
        let url = bare
            .parse()
            .map_err(|error| Exit::Usage(format!("invalid URL {bare:?}: {error}")))?;
        let credentials = user.filter(|user| !user.is_empty()).map(basic);
        Ok(Target {
            url,
            credentials: credentials.transpose()?,
        })
    }

    /// Adds the URL's credentials to `fields`, unless these have some already.
    pub(crate) fn authorize(&self, fields: &mut HeaderMap) {
        if let Some(credentials) = &self.credentials
            && !fields.contains_key(AUTHORIZATION)
        {
            fields.insert(AUTHORIZATION, credentials.clone());
        }
    }
}

/// RFC 3986 §3.1: a letter, and then letters, digits, `+`, `-` and `.`.
fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        let is_in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(is_in_scheme)
    })
}

/// RFC 3986 §3.2.1: the part before the last `@` of the authority, and the URL without it.
fn split_user(url: &str) -> (Option<&str>, String) {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let length = url[begin..].find(['/', '?', '#']);
    let end = length.map_or(url.len(), |length| begin + length);
    match url[begin..end].rfind('@') {
        Some(at) => {
            let (user, rest) = (&url[begin..begin + at], &url[begin + at + 1..]);
            (Some(user), format!("{}{rest}", &url[..begin]))
        }
        None => (None, url.to_owned()),
    }
}

/// RFC 7617 §2: `user:password`, percent-decoded, in base64. Without a password that is empty.
fn basic(user: &str) -> Result<HeaderValue, Exit> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let mut plain = decoded(user);
    plain.push(b':');
    plain.extend(decoded(password));
    let mut value = HeaderValue::from_str(&format!("Basic {}", base64(&plain)))
        .map_err(|_| Exit::Usage("invalid user information in the URL".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 3986 §2.1: with `%41` as the byte it stands for. What is no such triple stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |place: usize| char::from(*bytes.get(place)?).to_digit(16);
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            plain.push((high << 4 | low) as u8);
            at += 3;
        } else {
            plain.push(byte);
            at += 1;
        }
    }
    plain
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() {
                letter.into()
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Option<String>) {
        let target = Target::parse(text, "http").unwrap_or_else(|_| panic!("{text}"));
        let mut fields = HeaderMap::new();
        target.authorize(&mut fields);
        let value = fields.get(AUTHORIZATION);
        let sent = value.map(|value| value.to_str().unwrap().to_owned());
        assert!(value.is_none_or(HeaderValue::is_sensitive));
        (target.url.to_string(), sent)
    }

    #[test]
    fn a_missing_scheme_is_the_one_that_is_meant() {
        for (text, url) in [
            ("a.test", "http://a.test/"),
            ("a.test:8080/x", "http://a.test:8080/x"),
            (
                "a.test/?to=https://b.test/",
                "http://a.test/?to=https://b.test/",
            ),
            ("[::1]:80/", "http://[::1]:80/"),
            ("https://a.test/", "https://a.test/"),
            ("ws://a.test/", "ws://a.test/"),
        ] {
            assert_eq!(parsed(text), (url.to_owned(), None), "{text}");
        }
    }

    #[test]
    fn a_user_in_a_url_is_sent_as_basic_and_is_no_part_of_the_url() {
        for (text, url, sent) in [
            // RFC 7617 §2: its own example.
            (
                "http://Aladdin:open%20sesame@a.test/x",
                "http://a.test/x",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            ("u:p@a.test", "http://a.test/", "Basic dTpw"),
            ("u@a.test", "http://a.test/", "Basic dTo="),
            ("u:p:q@a.test", "http://a.test/", "Basic dTpwOnE="),
            ("u:p@q@a.test", "http://a.test/", "Basic dTpwQHE="),
            ("u:%zz%4@a.test", "http://a.test/", "Basic dTolenolNA=="),
        ] {
            let expected = (url.to_owned(), Some(sent.to_owned()));
            assert_eq!(parsed(text), expected, "{text}");
        }
        for text in [
            "http://@a.test/",
            "http://a.test/b@c",
            "http://a.test?u:p@b",
        ] {
            assert_eq!(parsed(text).1, None, "{text}");
        }
        // What the caller says in a field counts.
        let target = Target::parse("u:p@a.test", "http").unwrap_or_else(|_| panic!());
        let mut fields = HeaderMap::new();
        fields.insert(AUTHORIZATION, HeaderValue::from_static("mine"));
        target.authorize(&mut fields);
        assert_eq!(fields[AUTHORIZATION], "mine");
    }

    #[test]
    fn a_password_in_a_bad_url_is_not_repeated() {
        for text in ["http://u:s3cr3t@h/x y", "u:s3cr3t@", "u:s3cr3t@h\n/"] {
            let Err(Exit::Usage(said)) = Target::parse(text, "http") else {
                panic!("{text} was taken");
            };
            assert!(!said.contains("s3cr3t"), "{said}");
        }
    }
}
