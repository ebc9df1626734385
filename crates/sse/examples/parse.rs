//! Prints the events of what comes from stdin.

use std::io::Read;

use bytes::Bytes;
use httpcore_sse::{Limits, Parser};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut parser = Parser::new(Limits::default());
    let mut piece = [0; 4096];
    loop {
        let count = std::io::stdin().read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        let mut input = Bytes::copy_from_slice(&piece[..count]);
        while let Some(event) = parser.next(&mut input)? {
            println!("{} {:?} {:?}", event.name, event.id, event.data);
        }
    }
}
