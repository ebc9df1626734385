//! The mock is kept honest: how connections end, here and on the sockets of this machine.
//!
//! One list of steps is done on both. Where sockets would have to be waited for, a step goes on
//! until what it is about has come.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod client;

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    time::Duration,
};

use httpcore_core_primitives::BoxStream;
use httpcore_net_mock::{MockNet, ServerStream};

/// What is done, and by whom. The client's outcomes are what is compared.
#[derive(Clone, Copy, Debug)]
enum Step {
    ServerSays(&'static str),
    /// The server reads everything that has been sent so far: this number of bytes.
    ServerReads(usize),
    ServerEnds,
    ServerCloses,
    ServerResets,
    Says(&'static str),
    /// Writes until that fails.
    SaysUntilRefused,
    Reads,
    Ends,
}

use Step::*;

const STORIES: &[&[Step]] = &[
    // A clean end, and writing after it.
    &[
        ServerSays("bye"),
        ServerCloses,
        Reads,
        Reads,
        SaysUntilRefused,
        Reads,
    ],
    // The same, with writing first: what arrived before stays readable.
    &[
        ServerSays("bye"),
        ServerCloses,
        SaysUntilRefused,
        Reads,
        Reads,
    ],
    // Closed with bytes unread: a reset, told once.
    &[
        Says("upload"),
        ServerSays("413"),
        ServerCloses,
        Reads,
        Reads,
        Reads,
        SaysUntilRefused,
    ],
    // The same, told to the writer: reading ends as if nothing had happened.
    &[
        Says("upload"),
        ServerSays("413"),
        ServerCloses,
        SaysUntilRefused,
        Reads,
        Reads,
    ],
    // Everything read, so no reset.
    &[
        Says("upload"),
        ServerReads(6),
        ServerSays("200"),
        ServerCloses,
        Reads,
        Reads,
    ],
    // Reset on purpose.
    &[
        ServerSays("last"),
        ServerResets,
        Reads,
        Reads,
        Reads,
        SaysUntilRefused,
    ],
    &[ServerResets, SaysUntilRefused, SaysUntilRefused, Reads],
    // An end, and then a reset: what has ended well stays so.
    &[
        ServerSays("all"),
        ServerEnds,
        Reads,
        Reads,
        ServerResets,
        SaysUntilRefused,
        Reads,
    ],
    // Half-closed by the server: writing goes on.
    &[
        ServerSays("all"),
        ServerEnds,
        Reads,
        Reads,
        Says("more"),
        ServerReads(4),
        Reads,
    ],
    // Half-closed by the client.
    &[
        Ends,
        ServerSays("still here"),
        Reads,
        SaysUntilRefused,
        ServerCloses,
        Reads,
    ],
];

fn outcome<T>(result: io::Result<T>, show: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => show(value),
        Err(error) => format!("{:?}", error.kind()),
    }
}

fn on_sockets(story: &[Step]) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    // Nothing here takes long; a step that waits in vain must fail, not hang.
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut server = Some(server);
    let mut outcomes = Vec::new();
    for step in story {
        match *step {
            ServerSays(text) => server.as_mut().unwrap().write_all(text.as_bytes()).unwrap(),
            ServerReads(count) => {
                let mut bytes = vec![0; count];
                server.as_mut().unwrap().read_exact(&mut bytes).unwrap();
            }
            ServerEnds => server.as_ref().unwrap().shutdown(Shutdown::Write).unwrap(),
            ServerCloses => drop(server.take()),
            ServerResets => {
                let server = server.take().unwrap();
                socket2::SockRef::from(&server)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
            Says(text) => outcomes.push(outcome(client.write(text.as_bytes()), |n| n.to_string())),
            SaysUntilRefused => {
                let error = loop {
                    if let Err(error) = client.write(b"x") {
                        break error;
                    }
                    std::thread::yield_now();
                };
                outcomes.push(format!("refused: {:?}", error.kind()));
            }
            Reads => {
                let mut bytes = [0; 100];
                let read = client.read(&mut bytes);
                outcomes.push(outcome(read, |n| {
                    String::from_utf8_lossy(&bytes[..n]).into_owned()
                }));
            }
            Ends => client.shutdown(Shutdown::Write).unwrap(),
        }
    }
    outcomes
}

fn in_the_mock(story: &[Step]) -> Vec<String> {
    let net = MockNet::new();
    let (mut client, server) = net.pair();
    net.run(async {
        let mut server = Some(server);
        let mut outcomes = Vec::new();
        for step in story {
            mock_step(*step, &mut client, &mut server, &mut outcomes).await;
        }
        outcomes
    })
}

async fn mock_step(
    step: Step,
    client: &mut BoxStream,
    server: &mut Option<ServerStream>,
    outcomes: &mut Vec<String>,
) {
    match step {
        ServerSays(text) => server.as_mut().unwrap().write_all(text).await.unwrap(),
        ServerReads(count) => drop(server.as_mut().unwrap().read_exact(count).await.unwrap()),
        ServerEnds => server.as_mut().unwrap().close_write().await.unwrap(),
        ServerCloses => server.take().unwrap().close(),
        ServerResets => server.take().unwrap().reset(),
        Says(text) => {
            let written = client::write(client, text).await;
            outcomes.push(outcome(written, |n| n.to_string()));
        }
        SaysUntilRefused => {
            let error = loop {
                if let Err(error) = client::write(client, "x").await {
                    break error;
                }
            };
            outcomes.push(format!("refused: {:?}", error.kind()));
        }
        Reads => {
            let read = client::read(client).await;
            outcomes.push(outcome(read, |text| text));
        }
        Ends => client::shutdown(client).await.unwrap(),
    }
}

#[test]
fn connections_end_in_the_mock_as_they_do_on_sockets() {
    for story in STORIES {
        assert_eq!(in_the_mock(story), on_sockets(story), "{story:?}");
    }
}
