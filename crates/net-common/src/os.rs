//! Where operating systems differ: flags, error numbers, and options that Linux alone has.
//!
//! Only Linux is tested. `--cfg httpcore_portable` builds on Linux what other systems use, so that it is
//! compiled on every change; such a build must not be run, since the numbers are those of other systems.

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(httpcore_portable)
))]
mod linux;
#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    not(httpcore_portable)
)))]
mod other;

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(httpcore_portable)
))]
pub(crate) use linux::{
    EINPROGRESS, MSG_DONTWAIT, MSG_NOSIGNAL, abstract_name, open, set_interface, set_user_timeout,
};
#[cfg(not(all(
    any(target_os = "linux", target_os = "android"),
    not(httpcore_portable)
)))]
pub(crate) use other::{
    EINPROGRESS, MSG_DONTWAIT, MSG_NOSIGNAL, abstract_name, open, set_interface, set_user_timeout,
};

/// The same on all systems.
pub(crate) const MSG_PEEK: i32 = 0x2;
