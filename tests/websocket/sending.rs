//! Messages to a server: in frames, in pieces, against a peer that is slow, and given up half-way.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use futures_sink::Sink;
use httpcore::{
    ConnectionPool, Upgraded,
    backend::{Runtime, sleep_until},
    ws::{Config, Fragment, Message, MessageError, WebSocket},
};
use httpcore_net_mock::{Link, MockNet};

use crate::peer::{ACCEPTED, close, frame, handshake, heard, told};

/// A server that accepts, reads after a while, and closes when it has heard a close.
fn listening(net: &MockNet, link: Link, pause: Duration) -> Arc<Mutex<Vec<u8>>> {
    let noted = Arc::<Mutex<Vec<u8>>>::default();
    let notes = noted.clone();
    net.serve("server.test", 80, move |mut stream| {
        let noted = notes.clone();
        async move {
            stream.read_head().await.unwrap();
            stream.write_all(ACCEPTED).await.unwrap();
            stream.sleep(pause).await;
            while let Ok(some) = stream.read_some().await
                && !some.is_empty()
            {
                let closes = {
                    let mut noted = noted.lock().unwrap();
                    noted.extend_from_slice(&some);
                    // The close frame is the last: FIN and opcode, the length, a mask, and the code
                    // if there is one.
                    [(6, 0x80), (8, 0x82)].iter().any(|&(size, length)| {
                        noted.len() >= size && noted[noted.len() - size..][..2] == [0x88, length]
                    })
                };
                if closes && stream.write_all(close(1000, "")).await.is_err() {
                    return;
                }
            }
        }
    })
    .link(link);
    noted
}

/// Runs a client, and says what the server has heard.
fn said<F>(
    link: Link,
    pause: Duration,
    config: Config,
    client: impl FnOnce(WebSocket) -> F,
) -> String
where
    F: Future<Output = WebSocket>,
{
    let net = MockNet::new();
    let noted = listening(&net, link, pause);
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    net.run(async {
        let opened = pool.websocket(handshake()).await.unwrap();
        let mut socket = client(WebSocket::new(opened.stream, config)).await;
        let why = httpcore::ws::CloseFrame {
            code: 1000.into(),
            reason: "".into(),
        };
        socket.close(Some(why)).await.unwrap();
        assert!(matches!(
            socket.send("late").await,
            Err(MessageError::Closing)
        ));
    });
    drop(pool);
    net.run_until_idle();
    assert_eq!(net.live_counts().streams, 0);
    let noted = noted.lock().unwrap();
    told(&heard(&noted))
}

const NOW: Duration = Duration::ZERO;
const LATER: Duration = Duration::from_secs(60);

#[test]
fn a_message_goes_out_in_frames_of_the_size_that_is_set() {
    let config = Config::default().with_frame_size(4);
    let said = said(Link::new(), NOW, config, async |mut socket| {
        socket.send("").await.unwrap();
        socket.send("four").await.unwrap();
        socket.send("fives").await.unwrap();
        socket
            .send(Message::binary(&b"twelve bytes"[..]))
            .await
            .unwrap();
        socket.send(Message::Ping("?".into())).await.unwrap();
        socket
    });
    assert_eq!(
        said,
        "text, text four, text- five, more s, binary- twel, more- ve b, more ytes, ping ?, close 1000"
    );
}

#[test]
fn a_message_goes_out_in_pieces_as_they_come() {
    let said = said(Link::new(), NOW, Config::default(), async |mut socket| {
        socket
            .send_fragment(Fragment::Text("one".into()), false)
            .await
            .unwrap();
        let mixed = socket
            .send_fragment(Fragment::Binary("two".into()), false)
            .await;
        assert!(matches!(mixed, Err(MessageError::Misuse(_))));
        let between = socket.send("between").await;
        assert!(matches!(between, Err(MessageError::Misuse(_))));
        socket.send(Message::Ping("!".into())).await.unwrap();
        socket
            .send_fragment(Fragment::Text("two".into()), true)
            .await
            .unwrap();
        socket.send("next").await.unwrap();
        socket
    });
    assert_eq!(said, "text- one, ping !, more two, text next, close 1000");
}

#[test]
fn a_peer_that_does_not_read_holds_the_sender_up() {
    let link = Link::new().buffer(1000);
    let config = Config::default().with_frame_size(500);
    let said = said(link, LATER, config, async |mut socket| {
        {
            let mut sending = pin!(socket.send(Message::binary(vec![0; 100_000])));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(sending.as_mut().poll(&mut cx).is_pending());
            sending.await.unwrap();
        }
        socket
    });
    assert_eq!(said.matches("more- 500").count(), 198);
    assert!(said.ends_with("more 500, close 1000"), "{said}");
}

#[test]
fn a_message_that_was_accepted_is_sent_whole_although_its_future_is_dropped() {
    let link = Link::new().buffer(100);
    let config = Config::default().with_frame_size(90);
    let said = said(link, LATER, config, async |mut socket| {
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut first = pin!(socket.send(Message::binary(vec![0; 270])));
            assert!(first.as_mut().poll(&mut cx).is_pending());
        }
        {
            // This one was never accepted: the first is still on its way.
            let mut second = pin!(socket.send("never"));
            assert!(second.as_mut().poll(&mut cx).is_pending());
        }
        socket.send("last").await.unwrap();
        socket
    });
    assert_eq!(said, "binary- 90, more- 90, more 90, text last, close 1000");
}

#[test]
fn a_long_message_goes_on_by_itself_although_others_had_their_turn() {
    let config = Config::default().with_frame_size(1);
    let said = said(Link::new(), NOW, config, async |mut socket| {
        // Nothing here ever has to wait for the stream.
        socket.send("y".repeat(100)).await.unwrap();
        socket
    });
    assert_eq!(said.matches('y').count(), 100, "{said}");
}

#[test]
fn a_close_is_answered_as_soon_as_the_peer_reads_again() {
    let net = MockNet::new();
    let noted = Arc::<Mutex<Vec<u8>>>::default();
    let notes = noted.clone();
    net.serve("server.test", 80, move |mut stream| {
        let noted = notes.clone();
        async move {
            stream.read_head().await.unwrap();
            let said = [ACCEPTED.as_bytes(), &close(1000, "")].concat();
            stream.sleep(LATER).await;
            stream.write_all(said).await.unwrap();
            stream.sleep(LATER).await;
            let heard = stream.read_to_end().await.unwrap();
            noted.lock().unwrap().extend_from_slice(&heard);
        }
    })
    .link(Link::new().buffer(400));
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    net.run(async {
        let opened = pool.websocket(handshake()).await.unwrap();
        let config = Config::default().with_frame_size(1000);
        let mut socket = WebSocket::new(opened.stream, config);
        socket.start_send(Message::binary(vec![0; 10_000])).unwrap();
        let closed = socket.message().await;
        assert!(matches!(closed, Some(Ok(Message::Close(Some(_))))));
    });
    drop(pool);
    net.run_until_idle();
    // The frame that had been begun, and nothing of the message but that.
    let noted = noted.lock().unwrap();
    assert_eq!(told(&heard(&noted)), "binary- 1000, close 1000");
}

#[test]
fn what_cannot_be_sent_says_so_and_hurts_nothing() {
    let said = said(Link::new(), NOW, Config::default(), async |mut socket| {
        for message in [
            Message::Ping(vec![0; 126].into()),
            Message::Pong(vec![0; 126].into()),
            Message::Close(None),
        ] {
            let refused = socket.send(message).await;
            assert!(matches!(refused, Err(MessageError::Misuse(_))));
        }
        let long = httpcore::ws::CloseFrame {
            code: 1000.into(),
            reason: "x".repeat(124).into(),
        };
        let refused = socket.close(Some(long)).await;
        assert!(matches!(refused, Err(MessageError::Misuse(_))));
        for code in [999, 1005, 1006, 1015, 2000, 5000] {
            let forbidden = httpcore::ws::CloseFrame {
                code: code.into(),
                reason: "".into(),
            };
            let refused = socket.close(Some(forbidden)).await;
            assert!(matches!(refused, Err(MessageError::Misuse(_))), "{code}");
        }
        socket.send("fine").await.unwrap();
        socket
    });
    assert_eq!(said, "text fine, close 1000");
}

#[test]
fn more_pings_than_there_is_room_for_are_the_callers_mistake_and_hurt_nothing() {
    let link = Link::new().buffer(100);
    let said = said(link, LATER, Config::default(), async |mut socket| {
        let mut refused = None;
        for _ in 0..1000 {
            refused = socket
                .start_send(Message::Ping("?".repeat(125).into()))
                .err();
            if refused.is_some() {
                break;
            }
        }
        assert!(
            matches!(refused, Some(MessageError::Misuse(_))),
            "{refused:?}"
        );
        socket.send("fine").await.unwrap();
        socket
    });
    assert!(said.ends_with("text fine, close 1000"), "{said}");
}

#[test]
fn a_ping_is_answered_before_anything_else_is_asked_for() {
    let net = MockNet::new();
    let noted = Arc::<Mutex<Vec<u8>>>::default();
    let notes = noted.clone();
    net.serve("server.test", 80, move |mut stream| {
        let noted = notes.clone();
        async move {
            stream.read_head().await.unwrap();
            let said = [ACCEPTED.as_bytes(), &frame(0x89, "?")].concat();
            stream.write_all(said).await.unwrap();
            while let Ok(some) = stream.read_some().await
                && !some.is_empty()
            {
                noted.lock().unwrap().extend_from_slice(&some);
            }
        }
    });
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    net.run(async {
        let opened = pool.websocket(handshake()).await.unwrap();
        let mut socket = WebSocket::new(opened.stream, Config::default());
        let asked = socket.message().await;
        assert!(matches!(asked, Some(Ok(Message::Ping(_)))), "{asked:?}");
        // The socket is not polled meanwhile.
        let clock: Arc<dyn Runtime> = Arc::new(net.clone());
        sleep_until(&clock, clock.now() + LATER).await;
        assert_eq!(told(&heard(&noted.lock().unwrap())), "pong ?");
    });
}

#[test]
fn pings_of_a_peer_that_does_not_read_cost_no_memory() {
    let net = MockNet::new();
    let answers = Arc::<Mutex<usize>>::default();
    let counted = answers.clone();
    net.serve("server.test", 80, move |mut stream| {
        let counted = counted.clone();
        async move {
            stream.read_head().await.unwrap();
            let pings = frame(0x89, [b'p'; 125]).repeat(10_000);
            let said = [ACCEPTED.as_bytes(), &pings].concat();
            stream.write_all(said).await.unwrap();
            // Only now, with everything said, it looks what was answered.
            let heard = stream.read_to_end().await.unwrap();
            *counted.lock().unwrap() = heard.len() / (2 + 4 + 125);
        }
    })
    .link(Link::new().buffer(2000));
    let pool = ConnectionPool::new(Arc::new(net.clone()));
    net.run(async {
        let opened = pool.websocket(handshake()).await.unwrap();
        let config = Config::default().with_frame_size(125);
        let mut socket = WebSocket::<Upgraded>::new(opened.stream, config);
        for _ in 0..10_000 {
            let ping = socket.message().await.unwrap().unwrap();
            assert_eq!(ping.len(), 125);
        }
        socket.send("done").await.unwrap();
    });
    net.run_until_idle();
    // 2000 bytes were on their way, some 4 KiB kept, and the rest gave way to later ones.
    let answers = *answers.lock().unwrap();
    assert!((10..60).contains(&answers), "{answers}");
}

#[test]
fn an_answer_to_a_close_with_a_code_that_may_not_be_sent_is_a_protocol_error() {
    for code in [1005, 1006, 1015] {
        let net = MockNet::new();
        net.serve("server.test", 80, move |mut stream| async move {
            stream.read_head().await.unwrap();
            stream.write_all(ACCEPTED).await.unwrap();
            stream.read_some().await.unwrap();
            stream.write_all(close(code, "")).await.unwrap();
        });
        let pool = ConnectionPool::new(Arc::new(net.clone()));
        let ended = net.run(async {
            let opened = pool.websocket(handshake()).await.unwrap();
            let mut socket = WebSocket::new(opened.stream, Config::default());
            let ended = socket.close(None).await;
            let again = socket.message().await.unwrap().unwrap_err();
            assert!(matches!(again, MessageError::Protocol(_)), "{again}");
            ended
        });
        let Err(MessageError::Protocol(why)) = ended else {
            panic!("{code}: {ended:?}");
        };
        assert!(why.to_string().contains(&code.to_string()), "{why}");
    }
}

#[test]
fn a_websocket_is_a_sink_of_messages() {
    let said = said(Link::new(), NOW, Config::default(), async |socket| {
        let mut socket = Box::pin(socket);
        let ready = |cx: &mut Context<'_>| Sink::poll_ready(socket.as_mut(), cx);
        std::future::poll_fn(ready).await.unwrap();
        Sink::start_send(socket.as_mut(), Message::from("one")).unwrap();
        std::future::poll_fn(|cx| Sink::poll_flush(socket.as_mut(), cx))
            .await
            .unwrap();
        std::future::poll_fn(|cx| Sink::poll_close(socket.as_mut(), cx))
            .await
            .unwrap();
        let late = Sink::start_send(socket.as_mut(), Message::from("two"));
        assert!(matches!(late, Err(MessageError::Closing)));
        *Pin::into_inner(socket)
    });
    assert_eq!(said, "text one, close");
}
