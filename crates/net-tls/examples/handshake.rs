//! Makes an authority, a server and a client, lets them shake hands twice in virtual time, and
//! shows what they agree on.

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    sync::Arc,
};

use httpcore_core_primitives::{Alpn, IdleEvent, NetworkBackend, NetworkStream, TcpOptions};
use httpcore_net_mock::{MockNet, ServerStream};
use httpcore_net_tls::{
    RustlsConnector, ring,
    rustls::{ServerConfig, ServerConnection},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = rcgen::KeyPair::generate()?;
    let certificate =
        rcgen::CertificateParams::new(["example.test".to_owned()])?.self_signed(&key)?;
    let mut server = ServerConfig::builder_with_provider(ring())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            key.serialize_der().try_into()?,
        )?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = Arc::new(server);

    let connector = RustlsConnector::builder()
        .root_pem(certificate.pem())?
        .build()?;

    let net = MockNet::new();
    net.serve("example.test", 443, move |stream| {
        let server = server.clone();
        async move {
            // Errors end the connection; the client says why.
            let _ = serve(stream, server).await;
        }
    });
    for name in ["example.test", "example.test", "elsewhere.test"] {
        let outcome = net.run(async {
            let address = net.resolve("example.test", 443).await?[0];
            let stream = net.connect_tcp(address, &TcpOptions::default()).await?;
            let mut stream = connector.connect(stream, name, &[Alpn::Http1]).await?;
            // Reads the ticket with which the next handshake resumes this one, and then the end.
            let end = poll_fn(|cx| stream.poll_idle(cx)).await;
            assert_eq!(end, IdleEvent::Closed);
            io::Result::Ok(stream.tls_info())
        });
        match outcome {
            Ok(info) => println!(
                "{name}: {}, {}, resumed: {}",
                info.version.unwrap_or("?"),
                info.cipher_suite.unwrap_or("?"),
                info.resumed
            ),
            Err(error) => println!("{name}: {error}"),
        }
    }
    Ok(())
}

/// Shakes hands, and closes.
async fn serve(mut stream: ServerStream, config: Arc<ServerConfig>) -> io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    loop {
        let mut out = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut out)?;
        }
        out.flush()?;
        stream.write_all(out).await?;
        if !tls.is_handshaking() {
            return Ok(());
        }
        let heard = stream.read_some().await?;
        if heard.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest: &[u8] = &heard;
        while !rest.is_empty() {
            tls.read_tls(&mut rest.by_ref())?;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}
