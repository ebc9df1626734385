//! The pool's machine, with numbers for connections: two places, two routes, four requests.

use std::time::{Duration, Instant};

use httpcore_core_primitives::{ConnectionPolicy, Origin, Scheme};
use httpcore_pool::{
    PoolConfig, Route,
    state::{Action, Connection, PlaceId, State, TicketId},
};

type Machine = State<u32, ()>;

/// Prints what the machine wants done; yields the dials it begins and the grants it makes.
fn told(machine: &mut Machine, now: Instant) -> (Vec<PlaceId>, Vec<(TicketId, u32)>) {
    let (mut dials, mut grants) = (Vec::new(), Vec::new());
    let mut is_fit = |_, _: &mut u32| true;
    while let Some(action) = machine.poll_action(now, &mut is_fit) {
        match action {
            Action::Dial { place, route, .. } => {
                println!("    begin to connect to {route}");
                dials.push(place);
            }
            Action::Grant {
                ticket,
                connection: Connection::Exclusive(number),
                reused,
                ..
            } => {
                let which = if reused { "the used" } else { "the new" };
                println!("    {ticket:?} gets {which} connection {number}");
                grants.push((ticket, number));
            }
            Action::Close {
                connection: Connection::Exclusive(number),
                reason,
                ..
            } => println!("    close connection {number}: {}", reason.label()),
            other => println!("    {other:?}"),
        }
    }
    (dials, grants)
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

    println!("three requests to one.test, and one to other.test:");
    for route in [&one, &one, &one, &other] {
        machine.enqueue(route, ConnectionPolicy::default(), now);
    }
    let (dials, _) = told(&mut machine, now);

    println!("both connections are made:");
    for (number, &dial) in (1..).zip(&dials) {
        machine.dialled(dial, Ok(Connection::Exclusive(number)), now);
    }
    let (_, mut open) = told(&mut machine, now);

    while let Some((ticket, number)) = open.pop() {
        println!("{ticket:?} gives connection {number} back:");
        machine.reclaimed(ticket, Ok(number), now);
        let (dials, grants) = told(&mut machine, now);
        open.extend(grants);
        for dial in dials {
            println!("a connection is made:");
            machine.dialled(dial, Ok(Connection::Exclusive(3)), now);
            open.extend(told(&mut machine, now).1);
        }
    }

    println!("four seconds later:");
    now += Duration::from_secs(4);
    machine.expire(now);
    told(&mut machine, now);
    println!("{:?}", machine.books());
}
