//! URLs of requests, and errors that name the place where one is invalid.

use http::{
    Uri,
    uri::{InvalidUri, PathAndQuery},
};
use httpcore_core_primitives::{Error, ErrorKind, ErrorPhase, RequestSent};

/// What [`ConnectionPool::get`](crate::ConnectionPool::get) takes for a URL: text or a [`Uri`].
///
/// Text must be a URL as it is sent: a host in its ASCII form (`xn--…`), every character outside of
/// RFC 3986 percent-encoded.
///
/// This trait cannot be implemented outside of this crate.
pub trait IntoUrl: sealed::Sealed {}

impl<T: sealed::Sealed> IntoUrl for T {}

pub(crate) mod sealed {
    use bytes::Bytes;

    use super::{Error, Uri, invalid};

    pub trait Sealed {
        fn into_url(self) -> Result<Uri, Error>;
    }

    impl Sealed for Uri {
        fn into_url(self) -> Result<Uri, Error> {
            Ok(self)
        }
    }

    impl Sealed for &Uri {
        fn into_url(self) -> Result<Uri, Error> {
            Ok(self.clone())
        }
    }

    impl Sealed for &str {
        fn into_url(self) -> Result<Uri, Error> {
            self.parse().map_err(|error| invalid(self, error))
        }
    }

    impl Sealed for &String {
        fn into_url(self) -> Result<Uri, Error> {
            self.as_str().into_url()
        }
    }

    impl Sealed for String {
        fn into_url(self) -> Result<Uri, Error> {
            // The URI keeps these bytes, so that the text is not copied.
            let bytes = Bytes::from(self);
            Uri::from_maybe_shared(bytes.clone())
                .map_err(|error| invalid(&String::from_utf8_lossy(&bytes), error))
        }
    }
}

/// Maximum length of a URL in bytes, which is [`Uri`]'s.
const MAX_BYTES: usize = 65_534;

fn invalid(text: &str, error: InvalidUri) -> Error {
    Error::new(
        ErrorKind::InvalidUrl,
        ErrorPhase::Request,
        RequestSent::None,
    )
    .with_message(place(text))
    .with_source(error)
}

/// Says where `text` is invalid. Of user information, which may be a password, it says nothing but
/// the position.
fn place(text: &str) -> String {
    if text.is_empty() {
        return "invalid URL: it is empty".into();
    }
    if text.len() > MAX_BYTES {
        return format!("invalid URL: it is longer than {MAX_BYTES} bytes");
    }
    let authority = text.find("://").map_or(0, |scheme| scheme + 3);
    let path = text[authority..]
        .find(['/', '?', '#'])
        .map_or(text.len(), |end| authority + end);
    let host = text[authority..path]
        .rfind('@')
        .map_or(authority, |at| authority + at + 1);
    for (at, character) in text.char_indices() {
        if at < path {
            // RFC 3986 §3.2: reserved, unreserved and percent-encoded characters.
            if character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:%[]@/".contains(character) {
                continue;
            }
            if (authority..host).contains(&at) {
                return format!(
                    "invalid URL: invalid character in the user information at byte {at}"
                );
            }
            let part = if at < authority { "scheme" } else { "host" };
            let hint = if character.is_ascii() || at < authority {
                ""
            } else {
                "; an internationalized host is written in its ASCII form (xn--…)"
            };
            return format!(
                "invalid URL: invalid character {character:?} in the {part} at byte {at}{hint}"
            );
        }
        if character != '#' && PathAndQuery::try_from(format!("/{character}")).is_err() {
            return format!(
                "invalid URL: invalid character {character:?} in the path or query at byte {at}; \
                 it must be percent-encoded"
            );
        }
    }
    if host == path {
        return format!("invalid URL: there is no host at byte {host}");
    }
    format!("invalid URL: invalid host or port at byte {host}")
}

#[cfg(test)]
mod tests {
    use super::{sealed::Sealed, *};

    #[test]
    fn an_invalid_url_names_the_place() {
        for (url, said) in [
            ("", "invalid URL: it is empty"),
            (
                "http://münchen.test/",
                "invalid URL: invalid character 'ü' in the host at byte 8; an internationalized host \
                 is written in its ASCII form (xn--…)",
            ),
            (
                "http://a.test/a b",
                "invalid URL: invalid character ' ' in the path or query at byte 15; it must be \
                 percent-encoded",
            ),
            (
                "http://a b.test/",
                "invalid URL: invalid character ' ' in the host at byte 8",
            ),
            ("http:///x", "invalid URL: there is no host at byte 7"),
            (
                "http://a.test:80:80/",
                "invalid URL: invalid host or port at byte 7",
            ),
            (
                "http://[::1/",
                "invalid URL: invalid host or port at byte 7",
            ),
            (
                "ht tp://a.test/",
                "invalid URL: invalid character ' ' in the scheme at byte 2",
            ),
        ] {
            for error in [
                url.into_url().unwrap_err(),
                url.to_owned().into_url().unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::InvalidUrl);
                assert_eq!(error.to_string(), said, "{url}");
            }
        }
    }

    #[test]
    fn a_password_in_an_invalid_url_is_not_printed() {
        let error = "http://user:s\u{e9}cret@a.test/".into_url().unwrap_err();
        let printed = format!("{error} {error:#} {error:?}");
        assert!(
            !printed.contains('\u{e9}') && !printed.contains("cret"),
            "{printed}"
        );
        assert!(printed.contains("user information at byte 13"), "{printed}");
    }

    #[test]
    fn a_url_that_is_too_long_is_refused_by_its_length() {
        let error = format!("http://a.test/{}", "a".repeat(MAX_BYTES))
            .into_url()
            .unwrap_err();
        assert!(
            error.to_string().contains("longer than 65534 bytes"),
            "{error}"
        );
    }
}
