//! The origin as a process: prints its URL, and ends when its standard input does.

#![forbid(unsafe_code)]

use std::io::{self, Write};

fn main() -> io::Result<()> {
    let mut origin = httpcore_origin::Origin::start()?;
    if let Some(path) = std::env::args_os().nth(1) {
        origin.listen_unix(path)?;
    }
    let mut out = io::stdout();
    writeln!(out, "{}", origin.url(""))?;
    out.flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    eprintln!("{:?}", origin.stats());
    Ok(())
}
