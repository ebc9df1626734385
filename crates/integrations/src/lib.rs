//! [`httpcore`] as the HTTP client of other projects' libraries, with a feature for each:
//!
//! | feature | library | type |
//! |---|---|---|
//! | `object_store` | [`object_store`](https://docs.rs/object_store) 0.14 | `object_store::ObjectStoreConnector` |
//! | `opendal` | [`opendal`](https://docs.rs/opendal) 0.59 | `opendal::OpendalTransport` |
//! | `aws-smithy` | [the AWS SDK](https://docs.rs/aws-config) and other smithy clients | `aws_smithy::SmithyClient` |
//! | `opentelemetry-http` | [OpenTelemetry](https://docs.rs/opentelemetry-otlp) 0.33 exporters | `opentelemetry::OtelClient` |
//!
//! Each type holds a [`ConnectionPool`](httpcore::ConnectionPool): connections are shared with the
//! program's own requests, on the backend of the pool and within its limits. `tonic`, `kube` and
//! `tower-http` need no adapter: they accept a `tower_service::Service`, which
//! `ConnectionPool::service` is (feature `tower` of httpcore).
//!
//! Nothing here retries or reads a status code. Whether the libraries may send a request again follows from
//! the facts of an error, such as [`Error::sent`](httpcore::Error::sent).

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "aws-smithy")]
pub mod aws_smithy;
#[cfg(feature = "object_store")]
pub mod object_store;
#[cfg(feature = "opendal")]
pub mod opendal;
#[cfg(feature = "opentelemetry-http")]
pub mod opentelemetry;
#[cfg(any(feature = "aws-smithy", feature = "object_store", feature = "opendal"))]
mod sync;
