//! opendal over a pool, against `moto`.

use futures_util::TryStreamExt;
use httpcore::ConnectionPool;
use httpcore_integrations::opendal::OpendalTransport;
use httpcore_tests_integrations::{moto::Moto, on_own_loop, on_tokio};
use opendal::{HttpTransporter, OperationContext, Operator, services::S3};

const PART: usize = 8 << 20;
const PARTS: usize = 8;
const KEYS: usize = 100;

async fn write_read_and_list(pool: ConnectionPool, moto: &Moto) {
    let service = S3::default()
        .bucket("bucket")
        .endpoint(&moto.url())
        .region("us-east-1")
        .access_key_id("key")
        .secret_access_key("secret")
        .disable_config_load()
        .disable_ec2_metadata();
    let transport = HttpTransporter::new(OpendalTransport::new(pool.clone()));
    let context = OperationContext::new().with_http_transport(transport);
    let store = Operator::new(service)
        .expect("a store")
        .with_context(context);

    // A multipart upload.
    let mut writer = store.writer("large").await.expect("a writer");
    for n in 0..PARTS {
        writer.write(vec![n as u8; PART]).await.expect("a part");
    }
    writer.close().await.expect("an end");
    let size = store
        .stat("large")
        .await
        .expect("an object")
        .content_length();
    assert_eq!(size, (PART * PARTS) as u64);
    let edge = PART as u64;
    let read = store
        .read_with("large")
        .range(edge - 1..edge + 1)
        .await
        .expect("a range");
    assert_eq!(read.to_vec(), [0, 1]);
    let whole = store.read("large").await.expect("all of it");
    assert_eq!(whole.len(), PART * PARTS);

    for n in 0..KEYS {
        store
            .write(&format!("keys/{n:05}"), "x")
            .await
            .expect("a key");
    }
    let listed: Vec<_> = store
        .lister("keys/")
        .await
        .expect("a list")
        .try_collect()
        .await
        .expect("entries");
    let files = listed.iter().filter(|entry| entry.metadata().is_file());
    assert_eq!(files.count(), KEYS);
    let missing = store.read("missing").await.expect_err("there is none");
    assert_eq!(missing.kind(), opendal::ErrorKind::NotFound);
    assert_eq!(pool.status().active_requests, 0);
}

#[test]
fn uploads_ranges_and_listings_work() {
    let Some(moto) = Moto::start("bucket") else {
        return;
    };
    on_tokio(ConnectionPool::builder(), |pool| {
        write_read_and_list(pool, &moto)
    });
}

#[test]
fn uploads_ranges_and_listings_work_without_any_runtime() {
    let Some(moto) = Moto::start("bucket") else {
        return;
    };
    on_own_loop(ConnectionPool::builder(), |pool| {
        write_read_and_list(pool, &moto)
    });
}
