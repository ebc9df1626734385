//! A WebSocket which says everything back (RFC 6455), frame by frame.

use std::io::{self, Read};

use sha1_smol::Sha1;

use crate::connection::{Connection, Next, Request, invalid};

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;
/// The longest frame taken, in bytes.
const FRAME_LIMIT: u64 = 64 << 20;

/// Accepts, and echoes until the client closes. Fragments come back as fragments.
pub(crate) fn echo(connection: &mut Connection<'_>, request: &Request) -> io::Result<Next> {
    let Some(key) = &request.websocket_key else {
        connection.respond(request, 400, "", b"no key\n")?;
        return Ok(Next::Close);
    };
    let accept = accept(key);
    connection.start(
        request,
        101,
        &format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"),
    );
    connection.send()?;
    let mut said = Vec::new();
    while let Some((first, payload)) = frame(connection.input())? {
        let goes_on = reply(first, &payload, &mut said);
        connection.push(&said);
        connection.send()?;
        said.clear();
        if !goes_on {
            break;
        }
    }
    Ok(Next::Close)
}

/// Adds to `out` what is to be said to a frame; `false` if it is the last.
pub(crate) fn reply(first: u8, payload: &[u8], out: &mut Vec<u8>) -> bool {
    match first & 0x0f {
        CLOSE => {
            say(out, FIN | CLOSE, payload);
            return false;
        }
        PING => say(out, FIN | PONG, payload),
        PONG => {}
        0 | TEXT | 0x2 => say(out, first, payload),
        _ => {
            say(out, FIN | CLOSE, &1002_u16.to_be_bytes());
            return false;
        }
    }
    true
}

/// The next frame, without its mask; `None` if the client has gone.
pub(crate) fn frame(input: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 2];
    if input.read(&mut head[..1])? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut head[1..])?;
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            input.read_exact(&mut length)?;
            u16::from_be_bytes(length).into()
        }
        127 => {
            let mut length = [0; 8];
            input.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        length => length.into(),
    };
    // RFC 6455 §5.1: a client masks everything.
    if head[1] & 0x80 == 0 || length > FRAME_LIMIT {
        return Err(invalid("a frame without a mask, or too long"));
    }
    let mut mask = [0; 4];
    input.read_exact(&mut mask)?;
    let mut payload = Vec::new();
    input.take(length).read_to_end(&mut payload)?;
    if payload.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Some((head[0], payload)))
}

fn say(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        length @ 0..126 => out.push(length as u8),
        length @ 126..65_536 => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// RFC 6455 §4.2.2.
fn accept(key: &str) -> String {
    let hash = Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let hash = hash.digest().bytes();
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    // Six bits at a time; 20 bytes leave two groups of four letters less one.
    let bit = |at: usize| hash.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    for at in (0..160).step_by(6) {
        let letter = (at..at + 6).fold(0, |bits, at| bits << 1 | bit(at));
        text.push(char::from(letters[usize::from(letter)]));
    }
    text.push('=');
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rfcs_own_key_is_accepted_as_it_says() {
        // RFC 6455 §1.3.
        let accept = super::accept("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
