//! Answers the challenges of a proxy (407) by Digest, with the crate `digest_auth`: a tunnel and a forwarded
//! request through squid.
//!
//! ```sh
//! cargo run -p httpcore-servers --example proxy_digest
//! ```

use std::error::Error;

use digest_auth::{AuthContext, HttpMethod};
use httpcore::{
    ConnectionPool, EventLoop,
    http::HeaderValue,
    proxy::{Challenge, Proxy, ProxyProtocol},
};
use httpcore_origin::Origin;
use httpcore_servers::forward::{Forward, PASSWORD, USER, require_forward};

/// The value of `Proxy-Authorization` for the first challenge that is Digest.
fn digest(challenge: &Challenge<'_>) -> Option<HeaderValue> {
    let values = challenge.values().filter_map(|value| value.to_str().ok());
    let mut prompt = values
        .filter_map(|value| digest_auth::parse(value).ok())
        .next()?;
    // The second challenge for the same request means that the password is wrong, unless the nonce was old.
    if challenge.round > 0 && !prompt.stale {
        return None;
    }
    let context = AuthContext::new_with_method(
        USER,
        PASSWORD,
        challenge.target,
        None::<&[u8]>,
        HttpMethod::from(challenge.method.as_str().to_owned()),
    );
    HeaderValue::try_from(prompt.respond(&context).ok()?.to_string()).ok()
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(squid) = require_forward(Forward::SquidDigest) else {
        return Ok(());
    };
    let origin = Origin::start()?;
    let addr = squid.addr();
    let proxy = Proxy::new(ProxyProtocol::Http, &addr.ip().to_string(), addr.port())?;
    let proxy = proxy.with_authentication(digest);
    let event_loop = EventLoop::new()?;
    for tunnel in [true, false] {
        let proxy = proxy.clone().with_tunnel_for_http(tunnel);
        let pool = ConnectionPool::builder()
            .proxy(proxy)
            .build(event_loop.backend());
        let status = event_loop.block_on(async {
            let response = pool.get(origin.url("/hello")).await?;
            Ok::<_, httpcore::Error>(response.status())
        })?;
        println!("tunnel: {tunnel}, status: {status}");
    }
    Ok(())
}
