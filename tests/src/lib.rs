//! Code shared by the suites in this folder.
//!
//! [`suite`] runs one scenario (scripts for a server's connections, and what a client does with
//! them) on every backend: in virtual time, over our event loop, on tokio and smol, and on a thread that waits.
//! [`http2`] is a server of HTTP/2 for all of them.

#![forbid(unsafe_code)]

pub mod h2_peer;
pub mod http2;
pub mod smol;
pub mod suite;

/// The examples of the README, as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The example of net-mock's README. It needs `httpcore`, on which net-mock must not depend.
#[cfg(doctest)]
#[doc = include_str!("../../crates/net-mock/README.md")]
struct MockReadme;

/// The examples of the page on testing.
#[cfg(doctest)]
#[doc = include_str!("../../docs/testing.md")]
struct TestingGuide;

/// The examples of the guides, one module for each chapter. Those on other projects' clients are in
/// `tests/integrations`.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/guides/src/blocking.md")]
    mod blocking {}
    #[doc = include_str!("../../docs/guides/src/errors.md")]
    mod errors {}
    #[doc = include_str!("../../docs/guides/src/from-hyper-util.md")]
    mod from_hyper_util {}
    #[doc = include_str!("../../docs/guides/src/from-python.md")]
    mod from_python {}
    #[doc = include_str!("../../docs/guides/src/from-reqwest.md")]
    mod from_reqwest {}
    #[doc = include_str!("../../docs/guides/src/http2.md")]
    mod http2 {}
    #[doc = include_str!("../../docs/guides/src/implementing.md")]
    mod implementing {}
    #[doc = include_str!("../../docs/guides/src/limits.md")]
    mod limits {}
    #[doc = include_str!("../../docs/guides/src/no-runtime.md")]
    mod no_runtime {}
    #[doc = include_str!("../../docs/guides/src/names.md")]
    mod names {}
    #[doc = include_str!("../../docs/guides/src/observing.md")]
    mod observing {}
    #[doc = include_str!("../../docs/guides/src/production.md")]
    mod production {}
    #[doc = include_str!("../../docs/guides/src/proxies.md")]
    mod proxies {}
    #[doc = include_str!("../../docs/guides/src/recipes.md")]
    mod recipes {}
    #[doc = include_str!("../../docs/guides/src/retries.md")]
    mod retries {}
    #[doc = include_str!("../../docs/guides/src/security.md")]
    mod security {}
    #[doc = include_str!("../../docs/guides/src/start.md")]
    mod start {}
    #[doc = include_str!("../../docs/guides/src/streaming.md")]
    mod streaming {}
    #[doc = include_str!("../../docs/guides/src/timeouts.md")]
    mod timeouts {}
    #[doc = include_str!("../../docs/guides/src/tls.md")]
    mod tls {}
    #[doc = include_str!("../../docs/guides/src/tokio.md")]
    mod tokio {}
    #[doc = include_str!("../../docs/guides/src/tower.md")]
    mod tower {}
    #[doc = include_str!("../../docs/guides/src/websocket.md")]
    mod websocket {}
}
