//! Streams that carry another protocol after 101 or CONNECT.

use super::*;

#[test]
fn protocol_is_not_switched_in_the_middle_of_a_request() {
    let net = MockNet::new();
    let client = served(&net, Link::new().buffer(100), |mut server| async move {
        server.read_head().await.unwrap();
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
        server.write_all(answer).await.unwrap();
        server.stall().await;
    });
    let request = http::Request::post("/")
        .header("connection", "upgrade")
        .header("upgrade", "x");
    let error = net.run(async { failed(client.send(with(request, vec![0; 2000])).await) });
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(net.live_counts().streams, 0);
}

#[test]
fn upgraded_stream_begins_with_the_bytes_already_read() {
    seeds(0..20, |net| {
        for (request, answer) in [
            (
                with(
                    http::Request::get("/")
                        .header("connection", "Upgrade")
                        .header("upgrade", "echo"),
                    (),
                ),
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nfirst ",
            ),
            (
                http::Request::connect("a:443").body(Body::empty()).unwrap(),
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst ",
            ),
        ] {
            let client = served(&net, Link::new(), move |mut server| async move {
                server.read_head().await.unwrap();
                server.write_all(answer).await.unwrap();
                while let Ok(some) = server.read_some().await
                    && !some.is_empty()
                {
                    server.write_all(some).await.unwrap();
                }
            });
            net.run(async {
                let mut response = client.send(request).await.unwrap();
                let mut stream = Upgraded::take_from(&mut response).unwrap();
                assert!(Upgraded::take_from(&mut response).is_none());
                drop(response);
                assert_eq!(client.ends(), 0, "the stream holds the place");
                let mut word = &b"second"[..];
                while !word.is_empty() {
                    let bufs = [IoSlice::new(word)];
                    let n = poll_fn(|cx| stream.poll_write(cx, &bufs)).await.unwrap();
                    word = &word[n..];
                }
                let mut heard = BytesMut::new();
                while heard.len() < 12 {
                    heard.reserve(4);
                    poll_fn(|cx| stream.poll_read(cx, &mut heard))
                        .await
                        .unwrap();
                }
                assert_eq!(heard, "first second");
                drop(stream);
                assert_eq!(client.end(), Some(CloseReason::Upgraded));
            });
            assert_eq!(net.live_counts().streams, 0);
        }
    });
}

#[test]
fn upgraded_stream_that_is_not_taken_is_closed_with_its_response() {
    let net = MockNet::new();
    let client = answering(&net, Link::new(), "HTTP/1.1 200 OK\r\n\r\n");
    let connect = http::Request::connect("a:443").body(Body::empty()).unwrap();
    let response = net.run(async { client.send(connect).await.unwrap() });
    drop(response);
    assert_eq!(client.end(), Some(CloseReason::Upgraded));
    assert_eq!(net.live_counts().streams, 0);
}
