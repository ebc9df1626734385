//! What requests and responses carry in their [`http::Extensions`].
//!
//! Options of a request, of which each has a method in [`RequestExt`](crate::RequestExt):
//! [`Timeouts`](crate::Timeouts), [`Trace`](crate::trace::Trace), [`ConnectionPolicy`],
//! [`Partition`], [`ConnectTo`], [`HostOverrides`], [`ServerName`], [`TlsOverride`], [`UseProxy`](crate::proxy::UseProxy), [`AddressFilter`](crate::net::AddressFilter),
//! [`ProxyHeader`](crate::proxy::ProxyHeader), [`RequestTarget`], [`HeaderOrder`], [`Protocol`],
//! [`IncludeConnectionInfo`], [`CaptureRawHead`], [`OnInformational`].
//!
//! Facts in a response: [`ConnectionInfo`](crate::net::ConnectionInfo), [`RawHead`],
//! [`ReasonPhrase`], [`SkippedFields`], [`StreamId`], [`EarlyResponse`] with [`UploadState`].

pub use crate::connect_to::{ConnectTo, HostOverrides};
pub use httpcore_core_primitives::{
    ConnectionPolicy, EarlyResponse, IncludeConnectionInfo, OnInformational, Partition, Protocol,
    ServerName, StreamId, TlsOverride, UploadState,
};
pub use httpcore_proto_h1::{
    CaptureRawHead, HeaderOrder, RawHead, ReasonPhrase, RequestTarget, SkippedFields,
};
