//! One connection for each request: `handshakes ADDR COUNT ROOT 1.2|1.3 full|resumed`. The file ROOT has
//! the root certificate: verification is part of a full handshake.

#![forbid(unsafe_code)]

use std::{env, error::Error, sync::Arc};

use httpcore::tls::{RustlsConnector, TlsVersion};
use httpcore::{
    Body, ConnectionPool, EventLoop,
    extensions::{ConnectionPolicy, IncludeConnectionInfo},
    net::ConnectionInfo,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [addr, count, root, version, how] = arguments.as_slice() else {
        return Err("usage: handshakes ADDR COUNT ROOT 1.2|1.3 full|resumed".into());
    };
    let count: u64 = count.parse()?;
    let resumes = match how.as_str() {
        "full" => false,
        "resumed" => true,
        _ => return Err("a handshake is full or resumed".into()),
    };
    let version = match version.as_str() {
        "1.2" => TlsVersion::Tls12,
        "1.3" => TlsVersion::Tls13,
        _ => return Err("a version is 1.2 or 1.3".into()),
    };
    let mut builder = RustlsConnector::builder()
        .root_pem_file(root)?
        .min_version(version)
        .max_version(version);
    if !resumes {
        builder = builder.session_cache_size(0);
    }
    let epoll = EventLoop::new()?;
    let pool = ConnectionPool::builder()
        .tls(Arc::new(builder.build()?))
        .build(epoll.backend());
    let url: http::Uri = format!("https://{addr}/hello.txt").parse()?;
    epoll.block_on(async {
        for n in 0..count {
            // Connection facts for the first and the last only: copying them is not part of a handshake.
            let is_shown = n == 1 || n == count - 1;
            let mut request = http::Request::get(url.clone())
                .extension(ConnectionPolicy::default().with_close_after())
                .body(Body::empty())?;
            if is_shown {
                request.extensions_mut().insert(IncludeConnectionInfo);
            }
            let response = pool.request(request).await?;
            if let Some(info) = response.extensions().get::<ConnectionInfo>() {
                let tls = info.tls.as_ref().ok_or("no TLS")?;
                assert_eq!(tls.resumed, resumes && n > 0, "{tls:?}");
            }
            assert!(!response.into_body().bytes(1 << 10).await?.is_empty());
        }
        Ok(())
    })
}
