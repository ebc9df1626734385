//! Lists a bucket by object_store over a pool. The environment has the bucket and the credentials
//! (`AWS_BUCKET`, `AWS_ACCESS_KEY_ID`, …; `AWS_ENDPOINT` for other servers than Amazon's).

use futures_util::TryStreamExt;
use httpcore::ConnectionPool;
use httpcore_integrations::object_store::ObjectStoreConnector;
use object_store::{ObjectStore, aws::AmazonS3Builder};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ConnectionPool::builder().max_connections(8).build_tokio()?;
    let store = AmazonS3Builder::from_env()
        .with_http_connector(ObjectStoreConnector::new(pool.clone()))
        .build()?;
    let mut objects = store.list(None);
    while let Some(object) = objects.try_next().await? {
        println!("{:>12} {}", object.size, object.location);
    }
    println!("{:#}", pool.status());
    Ok(())
}
