//! The machine of the pool, with numbers for connections: two slots, two routes, four requests.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use httpcore_core_primitives::{ConnectionPolicy, KeepAliveHints, Origin, Scheme};
use httpcore_pool::{
    PoolConfig, Route,
    state::{Connection, Effect, Effects, Input, State},
};

type Machine = State<u32, ()>;

/// Something to happen next, outside the machine.
enum Next {
    /// An attempt to connect ends with this input.
    Connected(Input<'static, u32, ()>),
    /// A request is done, and its connection returned with this input.
    Returned(Input<'static, u32, ()>),
}

/// Gives the machine an input, and prints what is to be done for it; notes what happens next.
fn tell(
    machine: &mut Machine,
    input: Input<'_, u32, ()>,
    now: Instant,
    next: &mut VecDeque<Next>,
    made: &mut u32,
) {
    let mut effects = Effects::new();
    machine.handle(input, now, &mut effects);
    for effect in effects {
        match effect {
            Effect::Connect { conn, route, .. } => {
                println!("    begin to connect to {route}");
                *made += 1;
                next.push_back(Next::Connected(Input::Connected {
                    conn,
                    result: Ok(Connection::Exclusive(*made)),
                    limit: None,
                    copy: None,
                }));
            }
            Effect::Grant {
                waiter,
                connection: Connection::Exclusive(connection),
                reused,
                ..
            } => {
                let which = if reused { "the used" } else { "the new" };
                println!("    {waiter:?} gets {which} connection {connection}");
                next.push_back(Next::Returned(Input::Returned {
                    waiter,
                    connection,
                    hints: KeepAliveHints::default(),
                }));
            }
            Effect::Close {
                connection: Connection::Exclusive(connection),
                reason,
            } => println!("    close connection {connection}: {}", reason.label()),
            other => println!("    {other:?}"),
        }
    }
}

fn main() {
    let mut config = PoolConfig::default();
    config.max_connections = Some(2);
    let mut machine = Machine::new(&config);
    // The machine has no clock; any will do.
    #[allow(clippy::disallowed_methods)]
    let mut now = Instant::now();
    let route = |host| Route::to(Origin::new(Scheme::Http, host, 80));
    let (one, other) = (route("one.test"), route("other.test"));
    let (mut next, mut made) = (VecDeque::new(), 0);

    println!("three requests to one.test, and one to other.test:");
    for route in [&one, &one, &one, &other] {
        let request = Input::Request {
            route,
            policy: ConnectionPolicy::default(),
            arrival: None,
        };
        tell(&mut machine, request, now, &mut next, &mut made);
    }
    while let Some(event) = next.pop_front() {
        let input = match event {
            Next::Connected(input) => {
                println!("a connection is made:");
                input
            }
            Next::Returned(input) => {
                println!("a connection is returned:");
                input
            }
        };
        tell(&mut machine, input, now, &mut next, &mut made);
    }
    println!("four seconds later:");
    now += Duration::from_secs(4);
    tell(&mut machine, Input::Tick, now, &mut next, &mut made);
    println!("{:?}", machine.counts());
}
