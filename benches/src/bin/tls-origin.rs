//! A server for `https` and `handshakes`: `tls-origin ROOT`. Says where it listens, writes whom to
//! trust to the file ROOT, and serves until its input ends.
//!
//! Every response has the shortest head there is, so that what is counted is the client and not the
//! parsing of somebody's `Server` field. `/256mib` is that long; everything else says hello.

#![forbid(unsafe_code)]

use std::{
    env,
    error::Error,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use httpcore::tls::{
    ring,
    rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const PIECE: usize = 64 << 10;
const PIECES: usize = (256 << 20) / PIECE;

fn main() -> Result<(), Box<dyn Error>> {
    let root = env::args().nth(1).ok_or("usage: tls-origin ROOT")?;
    let (config, pem) = config()?;
    std::fs::write(root, pem)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            // Whoever leaves in the middle of anything is no business of the server's.
            thread::spawn(move || drop(serve(stream, config)));
        }
    });
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A server with a certificate for 127.0.0.1, and its root.
fn config() -> Result<(Arc<ServerConfig>, String), Box<dyn Error>> {
    let root_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&root_key)?.pem();
    let issuer = Issuer::new(params, root_key);
    let key = KeyPair::generate()?;
    let names = [Ipv4Addr::LOCALHOST.to_string()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let config = ServerConfig::builder_with_provider(ring())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der())?,
        )?;
    Ok((Arc::new(config), root))
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> Result<(), Box<dyn Error>> {
    stream.set_nodelay(true)?;
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..read]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        if head.starts_with(b"GET /256mib ") {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                PIECES * PIECE
            )?;
            let piece = vec![b'x'; PIECE];
            for _ in 0..PIECES {
                stream.write_all(&piece)?;
            }
        } else {
            stream.write_all(HELLO)?;
        }
        head.clear();
    }
}
