//! tonic over a pool, against a tonic server: the four kinds of calls, deadlines, errors in trailers, large
//! messages, cancellation. The service is written by hand, since `protoc` may not be there.

use std::{error::Error as _, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Uri, uri::PathAndQuery};
use httpcore::{ConnectionPool, ConnectionPoolBuilder, Timeouts, service::PoolService};
use httpcore_tests_integrations::{Server, Version, on_own_loop, on_tokio};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tonic::{
    Code, Request, Response, Status, Streaming,
    client::{Grpc, GrpcService},
    metadata::MetadataMap,
};
use tonic_prost::ProstCodec;
use tower::service_fn;

/// Messages of a stream.
const COUNT: u64 = 10_000;
const LARGE: usize = 64 << 20;

#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
    #[prost(uint64, tag = "2")]
    number: u64,
}

fn number(number: u64) -> Message {
    Message {
        number,
        data: Bytes::new(),
    }
}

fn refused() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-reason", "because".parse().expect("a value"));
    let details = Bytes::from_static(b"details");
    Status::with_details_and_metadata(Code::FailedPrecondition, "refused", details, metadata)
}

/// Says that a call is over when it is dropped.
struct Over(mpsc::UnboundedSender<()>);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// The time limit of a call, as tonic writes it.
fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (count, unit) = text.split_at(text.len() - 1);
    let count = count.parse().ok()?;
    match unit {
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

async fn answer(
    over: mpsc::UnboundedSender<()>,
    request: http::Request<Incoming>,
) -> http::Response<tonic::body::Body> {
    let codec = ProstCodec::<Message, Message>::default();
    let mut grpc = tonic::server::Grpc::new(codec)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    match request.uri().path() {
        "/test.Echo/Unary" => {
            let echo = async |request: Request<Message>| Ok(Response::new(request.into_inner()));
            grpc.unary(service_fn(echo), request).await
        }
        "/test.Echo/Refuse" => {
            let refuse = async |_: Request<Message>| Err::<Response<Message>, _>(refused());
            grpc.unary(service_fn(refuse), request).await
        }
        "/test.Echo/Hang" => {
            let hang = move |request: Request<Message>| {
                let over = Over(over.clone());
                async move {
                    match deadline(request.metadata()) {
                        Some(limit) => tokio::time::sleep(limit).await,
                        None => std::future::pending().await,
                    }
                    drop(over);
                    Err::<Response<Message>, _>(Status::deadline_exceeded("late"))
                }
            };
            grpc.unary(service_fn(hang), request).await
        }
        "/test.Echo/Server" => {
            // Then an error, in the trailers.
            let count = async |request: Request<Message>| {
                let numbers = (0..request.into_inner().number).map(|n| Ok(number(n)));
                let numbers = numbers.chain([Err(refused())]);
                Ok(Response::new(stream::iter(numbers)))
            };
            grpc.server_streaming(service_fn(count), request).await
        }
        "/test.Echo/Client" => {
            let sum = async |request: Request<Streaming<Message>>| {
                let (mut messages, mut sum) = (request.into_inner(), 0);
                while let Some(message) = messages.message().await? {
                    sum += message.number;
                }
                Ok(Response::new(number(sum)))
            };
            grpc.client_streaming(service_fn(sum), request).await
        }
        "/test.Echo/Both" => {
            let echo = async |request: Request<Streaming<Message>>| {
                Ok(Response::new(request.into_inner()))
            };
            grpc.streaming(service_fn(echo), request).await
        }
        _ => Status::unimplemented("no such method").into_http(),
    }
}

fn server() -> (Server, mpsc::UnboundedReceiver<()>) {
    let (over, ended) = mpsc::unbounded_channel();
    let server = Server::start(Version::Http2, move |_, request| {
        answer(over.clone(), request)
    });
    (server, ended)
}

fn builder() -> ConnectionPoolBuilder {
    ConnectionPool::builder().http1(false).http2(true)
}

fn method(name: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(name)
}

fn codec() -> ProstCodec<Message, Message> {
    ProstCodec::default()
}

fn client<S: GrpcService<tonic::body::Body>>(service: S, server: &Server) -> Grpc<S> {
    let origin: Uri = server.url("").parse().expect("a URL");
    Grpc::with_origin(service, origin)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
}

async fn ready<S: GrpcService<tonic::body::Body>>(client: &mut Grpc<S>) {
    assert!(client.ready().await.is_ok());
}

/// Calls of all kinds, over one connection.
async fn calls(pool: ConnectionPool, server: &Server) {
    let mut client = client(pool.service(), server);
    ready(&mut client).await;
    let echoed = client.unary(Request::new(number(7)), method("/test.Echo/Unary"), codec());
    assert_eq!(echoed.await.expect("an answer").into_inner().number, 7);

    ready(&mut client).await;
    let request = Request::new(number(COUNT));
    let counted = client.server_streaming(request, method("/test.Echo/Server"), codec());
    let mut counted = counted.await.expect("a stream").into_inner();
    for n in 0..COUNT {
        let message = counted.message().await.expect("a message");
        assert_eq!(message.map(|message| message.number), Some(n));
    }
    let status = counted
        .message()
        .await
        .expect_err("an error in the trailers");
    assert_refused(&status);

    ready(&mut client).await;
    let request = Request::new(stream::iter((0..COUNT).map(number)));
    let sum = client.client_streaming(request, method("/test.Echo/Client"), codec());
    let sum = sum.await.expect("an answer").into_inner().number;
    assert_eq!(sum, COUNT * (COUNT - 1) / 2);

    ready(&mut client).await;
    let request = Request::new(stream::iter((0..COUNT).map(number)));
    let echoed = client.streaming(request, method("/test.Echo/Both"), codec());
    let mut echoed = echoed.await.expect("a stream").into_inner();
    let mut received = 0;
    while let Some(message) = echoed.message().await.expect("a message") {
        assert_eq!(message.number, received);
        received += 1;
    }
    assert_eq!(received, COUNT);

    ready(&mut client).await;
    let refused = client.unary(
        Request::new(number(1)),
        method("/test.Echo/Refuse"),
        codec(),
    );
    assert_refused(&refused.await.expect_err("an error"));
    assert_eq!(server.connections(), 1);
}

fn assert_refused(status: &Status) {
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "refused");
    assert_eq!(status.details(), b"details");
    let reason = status.metadata().get("x-reason").expect("metadata");
    assert_eq!(reason, "because");
}

async fn large(pool: ConnectionPool, server: &Server) {
    let mut client = client(pool.service(), server);
    let data = Bytes::from(vec![b'x'; LARGE]);
    let message = Message { data, number: 1 };
    ready(&mut client).await;
    let echoed = client.unary(Request::new(message), method("/test.Echo/Unary"), codec());
    let echoed = echoed.await.expect("an answer").into_inner();
    assert_eq!(echoed.data.len(), LARGE);
    assert!(echoed.data.iter().all(|&byte| byte == b'x'));
}

async fn deadlines(pool: ConnectionPool, server: &Server) {
    let mut client: Grpc<PoolService> = client(pool.service(), server);
    // The server's, as gRPC has it.
    let mut request = Request::new(number(0));
    request.set_timeout(Duration::from_millis(20));
    ready(&mut client).await;
    let late = client.unary(request, method("/test.Echo/Hang"), codec());
    let status = late.await.expect_err("it is late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    // The client's own: the stream is reset, the connection stays.
    let mut request = Request::new(number(0));
    let limit = Timeouts::none().with_total(Duration::from_millis(20));
    request.extensions_mut().insert(limit);
    ready(&mut client).await;
    let late = client.unary(request, method("/test.Echo/Hang"), codec());
    let status = late.await.expect_err("it is late");
    let error = status.source().and_then(|error| error.downcast_ref());
    let error: &httpcore::Error = error.expect("our own error");
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(server.connections(), 1);
}

async fn cancellation(
    pool: ConnectionPool,
    server: &Server,
    ended: &mut mpsc::UnboundedReceiver<()>,
) {
    let mut client = client(pool.service(), server);
    for _ in 0..3 {
        ready(&mut client).await;
        let hung = client.unary(Request::new(number(0)), method("/test.Echo/Hang"), codec());
        let mut hung = Box::pin(hung);
        // Until the call has been received: another is answered after it.
        let mut other = client_of(&pool, server);
        ready(&mut other).await;
        let echo = other.unary(Request::new(number(1)), method("/test.Echo/Unary"), codec());
        tokio::select! {
            biased;
            _ = &mut hung => panic!("it hangs"),
            echoed = echo => assert_eq!(echoed.expect("an answer").into_inner().number, 1),
        }
        drop(hung);
        // The server drops the call, since its stream was reset.
        ended.recv().await.expect("the call is over");
    }
    assert_eq!(pool.status().active_requests, 0);
    assert_eq!(server.connections(), 1);
}

fn client_of(pool: &ConnectionPool, server: &Server) -> Grpc<PoolService> {
    client(pool.service(), server)
}

#[test]
fn calls_of_all_kinds_work() {
    let (server, _ended) = server();
    on_tokio(builder(), |pool| calls(pool, &server));
}

#[test]
fn calls_of_all_kinds_work_without_any_runtime() {
    let (server, _ended) = server();
    on_own_loop(builder(), |pool| calls(pool, &server));
}

#[test]
fn messages_of_64_mib_pass_in_both_directions() {
    let (server, _ended) = server();
    on_tokio(builder(), |pool| large(pool, &server));
    on_own_loop(builder(), |pool| large(pool, &server));
}

#[test]
fn deadlines_of_either_side_end_a_call_and_not_the_connection() {
    let (server, _ended) = self::server();
    on_tokio(builder(), |pool| deadlines(pool, &server));
    let (server, _ended) = self::server();
    on_own_loop(builder(), |pool| deadlines(pool, &server));
}

#[test]
fn a_dropped_call_is_dropped_by_the_server() {
    let (server, mut ended) = self::server();
    on_tokio(builder(), |pool| cancellation(pool, &server, &mut ended));
    let (server, mut ended) = self::server();
    on_own_loop(builder(), |pool| cancellation(pool, &server, &mut ended));
}

#[test]
fn a_service_for_one_origin_needs_no_origin_in_the_client() {
    let (server, _ended) = server();
    on_tokio(builder(), |pool| {
        let server = &server;
        async move {
            let service = pool.service_for(server.url("")).expect("an origin");
            let mut client = Grpc::new(service);
            ready(&mut client).await;
            let echo = client.unary(Request::new(number(7)), method("/test.Echo/Unary"), codec());
            assert_eq!(echo.await.expect("an answer").into_inner().number, 7);
        }
    });
}
