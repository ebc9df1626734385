//! Starts a server, says where it is, and ends it when the standard input ends:
//!
//! ```sh
//! cargo run -p httpcore-servers --example start -- nginx tls    # or plain
//! ```

use std::{env, error::Error, io};

use httpcore_servers::{Authority, Door, Front};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let names = Front::ALL.map(Front::name).join("|");
    let usage = format!("usage: start {names} plain|tls");
    let [name, door] = arguments.as_slice() else {
        return Err(usage.into());
    };
    let front = Front::ALL.into_iter().find(|front| front.name() == name);
    let front = front.ok_or(usage.as_str())?;
    let authority = Authority::new()?;
    let server = match door.as_str() {
        "plain" => front.start(Door::Plain)?,
        "tls" => front.start(Door::Tls(&authority))?,
        _ => return Err(usage.into()),
    };
    match door.as_str() {
        "plain" => println!("{}", server.url("/hello")),
        _ => println!(
            "{} {}",
            server.https_url("/hello"),
            authority.root_file().display()
        ),
    }
    io::copy(&mut io::stdin(), &mut io::sink())?;
    eprint!("{}", server.log());
    Ok(())
}
