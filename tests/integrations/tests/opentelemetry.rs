//! An OTLP exporter over a pool.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use httpcore::{ConnectionPool, Timeouts};
use httpcore_integrations::opentelemetry::OtelClient;
use httpcore_tests_integrations::{Server, Version};
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message;

#[test]
fn spans_are_exported_over_a_pool_on_an_event_loop_of_its_own() {
    let received: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let store = received.clone();
    let server = Server::start(Version::Http1, move |_, request| {
        let store = store.clone();
        async move {
            assert_eq!(request.uri().path(), "/v1/traces");
            assert_eq!(request.headers()["content-type"], "application/x-protobuf");
            let body = request.into_body().collect().await.expect("a body");
            store.lock().expect("no panic").push(body.to_bytes());
            http::Response::new(Full::new(Bytes::new()))
        }
    });
    let event_loop = httpcore::EventLoop::spawn_thread("exports").expect("an event loop");
    let limits = Timeouts::none().with_total(Duration::from_secs(10));
    let pool = ConnectionPool::builder()
        .timeouts(limits)
        .build(event_loop.backend());
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(OtelClient::new(pool.clone()))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(server.url("/v1/traces"))
        .build()
        .expect("an exporter");
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    let tracer = provider.tracer("test");
    for _ in 0..1000 {
        tracer.start("a span").end();
    }
    provider.force_flush().expect("all is exported");
    provider.shutdown().expect("an end");
    let received = received.lock().expect("no panic");
    let spans: usize = received
        .iter()
        .map(|body| ExportTraceServiceRequest::decode(body.clone()).expect("a request"))
        .flat_map(|request| request.resource_spans)
        .flat_map(|spans| spans.scope_spans)
        .map(|spans| spans.spans.len())
        .sum();
    assert_eq!(spans, 1000);
    assert_eq!(server.connections(), 1, "exports share a connection");
    assert_eq!(pool.status().active_requests, 0);
}
