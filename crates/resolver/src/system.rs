//! The system's look-up, and the meaning of its errors.

use std::{
    fs::File,
    io,
    net::{SocketAddr, ToSocketAddrs},
};

/// Looks `host` up, for both address families in one call. Blocks.
pub(crate) fn lookup(host: &str) -> io::Result<Vec<SocketAddr>> {
    match (host, 0).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(name_or_system(error, descriptors_left)),
    }
}

/// Texts of the C libraries for names that do not exist (`EAI_NONAME`) or have no addresses
/// (`EAI_NODATA`).
const NO_SUCH_NAME: [&str; 5] = [
    "Name or service not known",           // glibc, EAI_NONAME
    "No address associated with hostname", // glibc and bionic, EAI_NODATA
    "Name does not resolve",               // musl, EAI_NONAME
    "Name has no usable address",          // musl, EAI_NODATA
    "No address associated with nodename", // older bionic, EAI_NODATA
];

/// Distinguishes a name that does not exist from a look-up that failed.
///
/// The C library reports it by a number, of which `std` passes on only the text, without a kind. An
/// unknown text, for example a translated one, leaves the error unchanged.
///
/// A C library that could not open `/etc/hosts` or a socket may report that the name does not exist.
/// Therefore its result counts only if `descriptors_left` can open a descriptor now; otherwise the
/// shortage is the error. A shortage that ended between the two calls is not noticed.
fn name_or_system(
    error: io::Error,
    descriptors_left: impl FnOnce() -> io::Result<()>,
) -> io::Error {
    // A failed system call (`EAI_SYSTEM`). A missing file is not a missing name.
    if error.raw_os_error().is_some() {
        return match error.kind() {
            io::ErrorKind::NotFound => io::Error::other(error),
            _ => error,
        };
    }
    if let Err(shortage) = descriptors_left() {
        return shortage;
    }
    let text = error.to_string();
    if NO_SUCH_NAME.iter().any(|known| text.ends_with(known)) {
        return io::Error::new(io::ErrorKind::NotFound, error);
    }
    error
}

/// Returns an error if the process can open no file now for want of descriptors.
fn descriptors_left() -> io::Result<()> {
    /// `ENFILE` and `EMFILE`, the same numbers on all Linux architectures.
    const SHORTAGES: [i32; 2] = [23, 24];
    match File::open("/") {
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|number| SHORTAGES.contains(&number)) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "failed to lookup address information: ";

    #[test]
    fn texts_for_missing_names_become_not_found() {
        for (text, is_not_found) in [
            ("Name or service not known", true),
            ("No address associated with hostname", true),
            ("Name does not resolve", true),
            ("Name has no usable address", true),
            ("No address associated with nodename", true),
            ("Temporary failure in name resolution", false),
            ("Non-recoverable failure in name resolution", false),
            ("Memory allocation failure", false),
            ("Try again", false),
            ("Name oder Dienst nicht bekannt", false),
            ("", false),
        ] {
            let error = io::Error::other(format!("{PREFIX}{text}"));
            let error = name_or_system(error, || Ok(()));
            let kind = error.kind();
            assert_eq!(kind == io::ErrorKind::NotFound, is_not_found, "{text}");
            assert_eq!(error.to_string(), format!("{PREFIX}{text}"));
        }
    }

    #[test]
    fn error_with_a_system_number_is_never_not_found() {
        for number in [1, 11, 12, 23, 24, 101, 105] {
            let system = io::Error::from_raw_os_error(number);
            let error = name_or_system(system, || Ok(()));
            assert_eq!(error.raw_os_error(), Some(number));
            assert_ne!(error.kind(), io::ErrorKind::NotFound);
        }
        let missing_file = io::Error::from_raw_os_error(2);
        assert_eq!(missing_file.kind(), io::ErrorKind::NotFound);
        let error = name_or_system(missing_file, || Ok(()));
        assert_eq!(error.kind(), io::ErrorKind::Other);
    }

    #[test]
    fn shortage_of_descriptors_is_the_error_whatever_the_library_reports() {
        for text in [NO_SUCH_NAME[0], "Temporary failure in name resolution"] {
            let error = io::Error::other(format!("{PREFIX}{text}"));
            let error = name_or_system(error, || Err(io::Error::from_raw_os_error(24)));
            assert_eq!(error.raw_os_error(), Some(24));
        }
    }

    #[test]
    fn system_error_for_a_name_under_invalid_is_recognised() {
        // RFC 6761 §6.4: names under .invalid do not exist, and resolvers report that at once. Without
        // any DNS server, the look-up fails.
        let error = lookup("nothing.invalid").unwrap_err();
        let text = error.to_string();
        assert!(
            error.kind() == io::ErrorKind::NotFound || text.contains("Temporary failure"),
            "{error:?}"
        );
    }
}
