//! The HTTP client of the AWS SDK and of other smithy clients.

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{body::SdkBody, retry::ErrorKind as RetryKind};
use httpcore::{Body, ConnectionPool, Error, ErrorKind, Timeouts, error::Fault};

use crate::sync::SyncBody;

/// A pool as an [`HttpClient`], for `http_client` of `aws_config` and of the services' builders.
///
/// All connectors share the pool. The settings' connect timeout is
/// [`Timeouts::connect`], and their read timeout [`Timeouts::response_head`]; where they set none,
/// the pool's limits apply.
#[derive(Clone, Debug)]
pub struct SmithyClient {
    pool: ConnectionPool,
}

impl SmithyClient {
    /// Sends requests through `pool`.
    pub fn new(pool: ConnectionPool) -> Self {
        SmithyClient { pool }
    }
}

impl HttpClient for SmithyClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let mut timeouts = Timeouts::default();
        if let Some(connect) = settings.connect_timeout() {
            timeouts = timeouts.with_connect(connect);
        }
        if let Some(read) = settings.read_timeout() {
            timeouts = timeouts.with_response_head(read);
        }
        SharedHttpConnector::new(Connector {
            pool: self.pool.clone(),
            timeouts,
        })
    }
}

#[derive(Debug)]
struct Connector {
    pool: ConnectionPool,
    timeouts: Timeouts,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let mut request = request.map(replayable);
        request.extensions_mut().insert(self.timeouts);
        let response = self.pool.request(request);
        HttpConnectorFuture::new(async move {
            let response = response.await.map_err(to_error)?;
            let response = response.map(|body| SdkBody::from_body_1_x(SyncBody::new(body)));
            HttpResponse::try_from(response)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The same body; it can be sent again if all of it is in memory.
fn replayable(body: SdkBody) -> Body {
    match body.bytes() {
        Some(bytes) => bytes.to_vec().into(),
        None => {
            let length = body.content_length();
            let body = Body::wrap(body);
            match length {
                Some(length) => body.with_length(length),
                None => body,
            }
        }
    }
}

fn to_error(error: Error) -> ConnectorError {
    let never_connected = error.is_connect();
    let retryable = error.is_retryable();
    let (kind, fault, is_timeout) = (error.kind(), error.fault(), error.is_timeout());
    let source = error.into();
    let error = if is_timeout {
        ConnectorError::timeout(source)
    } else if fault == Fault::Caller {
        ConnectorError::user(source)
    } else if matches!(kind, ErrorKind::Network | ErrorKind::ConnectionClosed) || never_connected {
        ConnectorError::io(source)
    } else {
        ConnectorError::other(source, retryable.then_some(RetryKind::TransientError))
    };
    if never_connected {
        error.never_connected()
    } else {
        error
    }
}
