//! The AWS SDK over a pool: against `moto`, and against a server that fails.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client, Config,
    config::{Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::SdkError,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use httpcore::ConnectionPool;
use httpcore_integrations::aws_smithy::SmithyClient;
use httpcore_tests_integrations::{Server, Version, moto::Moto, on_tokio};

const PART: usize = 8 << 20;
const PARTS: usize = 8;
const KEYS: usize = 2_000;

fn client(pool: &ConnectionPool, endpoint: String) -> Client {
    let retry = RetryConfig::standard()
        .with_max_attempts(4)
        .with_initial_backoff(Duration::from_millis(1));
    let config = Config::builder()
        .behavior_version_latest()
        .http_client(SmithyClient::new(pool.clone()))
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .force_path_style(true)
        .retry_config(retry);
    Client::from_conf(config.build())
}

#[test]
fn large_uploads_ranges_and_listings_work_against_moto() {
    let Some(moto) = Moto::start("bucket") else {
        return;
    };
    on_tokio(ConnectionPool::builder(), |pool| async move {
        let s3 = client(&pool, moto.url());
        let upload = s3.create_multipart_upload().bucket("bucket").key("large");
        let upload = upload.send().await.expect("an upload");
        let id = upload.upload_id().expect("an id");
        let mut parts = CompletedMultipartUpload::builder();
        for n in 0..PARTS {
            let data = ByteStream::from(vec![n as u8; PART]);
            let number = n as i32 + 1;
            let part = s3.upload_part().bucket("bucket").key("large").upload_id(id);
            let part = part
                .part_number(number)
                .body(data)
                .send()
                .await
                .expect("a part");
            let tag = part.e_tag().expect("a tag");
            parts = parts.parts(
                CompletedPart::builder()
                    .part_number(number)
                    .e_tag(tag)
                    .build(),
            );
        }
        let end = s3.complete_multipart_upload().bucket("bucket").key("large");
        let end = end.upload_id(id).multipart_upload(parts.build());
        end.send().await.expect("an end");

        let get = |range: Option<String>| {
            let get = s3.get_object().bucket("bucket").key("large");
            get.set_range(range).send()
        };
        let whole = get(None)
            .await
            .expect("an object")
            .body
            .collect()
            .await
            .expect("a body");
        assert_eq!(whole.into_bytes().len(), PART * PARTS);
        for (range, expected) in [
            ("bytes=0-0".to_owned(), &[0u8][..]),
            (format!("bytes={}-{}", PART - 1, PART), &[0, 1]),
        ] {
            let part = get(Some(range)).await.expect("a range");
            let part = part.body.collect().await.expect("a body");
            assert_eq!(part.into_bytes(), expected);
        }

        for n in (0..KEYS).step_by(50) {
            let puts = (n..n + 50).map(|n| {
                let put = s3.put_object().bucket("bucket").key(format!("keys/{n:05}"));
                put.body(ByteStream::from_static(b"x")).send()
            });
            futures_util::future::try_join_all(puts)
                .await
                .expect("keys");
        }
        let pages = s3.list_objects_v2().bucket("bucket").prefix("keys/");
        let mut pages = pages.into_paginator().send();
        let mut listed = 0;
        while let Some(page) = pages.next().await {
            listed += page.expect("a page").contents().len();
        }
        assert_eq!(listed, KEYS);
        let missing = s3.get_object().bucket("bucket").key("missing").send().await;
        let error = missing.expect_err("there is none").into_service_error();
        assert!(error.is_no_such_key(), "{error:?}");
        assert_eq!(pool.status().active_requests, 0);
    });
}

type AnyBody = UnsyncBoxBody<Bytes, std::io::Error>;

fn whole(text: &'static str) -> AnyBody {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    body.map_err(|never| match never {}).boxed_unsync()
}

#[test]
fn a_server_error_and_a_dying_connection_are_repeated() {
    let server = Server::start(Version::Http1, |n, _| async move {
        let response = match n {
            0 => Response::builder().status(500).body(whole("")),
            // The server drops the connection with the head.
            1 => {
                let torn: [Result<Frame<Bytes>, _>; 1] = [Err(std::io::Error::other("torn"))];
                let torn = StreamBody::new(stream::iter(torn)).boxed_unsync();
                Response::builder()
                    .status(503)
                    .header("content-length", 9)
                    .body(torn)
            }
            _ => Response::builder().body(whole("world")),
        };
        response.expect("a response")
    });
    on_tokio(ConnectionPool::builder(), |pool| {
        let server = &server;
        async move {
            let s3 = client(&pool, server.url(""));
            let object = s3.get_object().bucket("bucket").key("key").send().await;
            let body = object
                .expect("an object")
                .body
                .collect()
                .await
                .expect("a body");
            assert_eq!(body.into_bytes(), "world");
        }
    });
    assert_eq!(server.requests(), 3);
}

#[test]
fn the_settings_time_limit_for_the_response_is_applied() {
    let server = Server::start(Version::Http1, async |_, _| {
        std::future::pending::<Response<AnyBody>>().await
    });
    on_tokio(ConnectionPool::builder(), |pool| {
        let server = &server;
        async move {
            let s3 = client(&pool, server.url(""));
            let limit = TimeoutConfig::builder().read_timeout(Duration::from_millis(20));
            let config = Config::builder()
                .timeout_config(limit.build())
                .retry_config(RetryConfig::disabled());
            let get = s3.get_object().bucket("bucket").key("key").customize();
            let error = get
                .config_override(config)
                .send()
                .await
                .expect_err("a limit");
            match error {
                SdkError::DispatchFailure(failure) => assert!(failure.is_timeout(), "{failure:?}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(pool.status().active_requests, 0);
        }
    });
}
