//! A handshake without a pool: the request by hand, the answer judged.

use httpcore_core_primitives::Response;
use httpcore_ws_upgrade::{Handshake, OpenError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (request, expected) = Handshake::new("ws://localhost/chat")
        .subprotocol("chat.v2")
        .header("origin", "http://localhost")
        .into_request()?;
    println!("{} {}", request.method(), request.uri());
    for (name, value) in request.headers() {
        println!("{name}: {value:?}");
    }

    // A server which would rather see a password first.
    let mut response = Response::new("who are you?".into());
    *response.status_mut() = http::StatusCode::UNAUTHORIZED;
    match expected.verify(response) {
        Err(OpenError::Refused(response)) => println!("refused: {}", response.status()),
        other => println!("{other:?}"),
    }
    Ok(())
}
