//! A pool as a tower service on tokio, under two layers of `tower-http`.

use std::time::Duration;

use httpcore::{Body, ConnectionPool, http};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::{set_header::SetRequestHeaderLayer, timeout::TimeoutLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A server of its own, unless there is a URL on the command line.
    let origin = httpcore_origin::Origin::start()?;
    let url = std::env::args().nth(1).unwrap_or(origin.url("/hello"));

    let pool = ConnectionPool::builder().build_tokio()?;
    let agent = http::HeaderValue::from_static("example/1.0");
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::with_status_code(
            http::StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(10),
        ))
        .layer(SetRequestHeaderLayer::overriding(
            http::header::USER_AGENT,
            agent,
        ))
        .service(pool.service());

    let request = http::Request::get(url).body(Body::empty())?;
    let response = client.oneshot(request).await?;
    println!("{}", response.status());
    print!("{}", response.into_body().text(1 << 20).await?);
    Ok(())
}
