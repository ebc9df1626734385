#![forbid(unsafe_code)]
#![allow(missing_docs)]
mod arena;
pub mod config;
pub mod route;
pub mod state;
pub use config::{Config, Retry};
pub use route::{Credentials, Endpoint, Hop, Route, RouteParts};
