//! The codec without a connection: a request into bytes, and bytes into a response, as they come.

use bytes::BytesMut;
use httpcore_core_primitives::BodyLength;
use httpcore_proto_h1::codec::{Codec, Event};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (request, ()) = http::Request::post("http://localhost:8080/greet?loud")
        .header("accept", "text/plain")
        .body(())?
        .into_parts();

    let mut codec = Codec::default();
    let mut out = BytesMut::new();
    codec.encode_head(&request, BodyLength::Unknown, &mut out)?;
    for piece in ["who", "ever"] {
        let after = codec.encode_data(piece.len(), &mut out)?;
        out.extend_from_slice(piece.as_bytes());
        out.extend_from_slice(after);
    }
    codec.encode_end(None, &mut out)?;
    println!("{}", out.escape_ascii());

    // However a network cuts the response, its events are the same.
    let response = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n\
                    HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    6\r\nhello \r\n8\r\nworld!!!\r\n0\r\nGrade: A\r\n\r\n";
    let mut input = BytesMut::new();
    for arrived in response.as_bytes().chunks(50) {
        input.extend_from_slice(arrived);
        while let Some(event) = codec.decode(&mut input, false)? {
            match event {
                Event::Informational(hint) => println!("hint: {:?}", hint.headers()),
                Event::Head(head) => println!("head: {} {:?}", head.status(), head.headers()),
                Event::Data(data) => println!("data: {}", data.escape_ascii()),
                Event::Trailers(trailers) => println!("trailers: {trailers:?}"),
                Event::End => {
                    println!(
                        "end; another request may follow: {:?}",
                        codec.can_reuse(&input)
                    )
                }
            }
        }
    }
    Ok(())
}
