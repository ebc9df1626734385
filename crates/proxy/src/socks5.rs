//! SOCKS 5 (RFC 1928) with user and password (RFC 1929), as a machine.

use std::net::IpAddr;

use bytes::{Buf, BufMut, BytesMut};
use httpcore_core_primitives::Credentials;

use crate::{
    error::{ProxyError, SocksReply},
    negotiation::{Negotiation, Progress},
    target::{Target, TargetHost},
};

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
/// The version of the sub-negotiation (RFC 1929 §2).
const PASSWORD_VERSION: u8 = 1;

/// A SOCKS 5 negotiation.
///
/// ```text
///   methods ──► method chosen ──► [user, password ──► status] ──► request ──► reply ──► tunnel
/// ```
pub struct Socks5 {
    output: BytesMut,
    request: BytesMut,
    password: Option<BytesMut>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Method,
    Status,
    Reply,
}

impl Socks5 {
    /// Starts a negotiation for `target`. With `credentials`, both "no authentication" and "user and
    /// password" are offered, and the proxy chooses; without, only the former.
    ///
    /// # Errors
    ///
    /// [`ProxyError::InvalidCredentials`] unless user and password have 1 to 255 bytes each
    /// (RFC 1929 §2).
    pub fn new(target: &Target, credentials: Option<&Credentials>) -> Result<Self, ProxyError> {
        let password = credentials.map(password_request).transpose()?;
        let methods: &[u8] = match password {
            Some(_) => &[NO_AUTHENTICATION, USER_AND_PASSWORD],
            None => &[NO_AUTHENTICATION],
        };
        let mut output = BytesMut::from(&[VERSION, methods.len() as u8][..]);
        output.extend_from_slice(methods);

        let mut request = BytesMut::from(&[VERSION, CONNECT, 0][..]);
        match target.host() {
            TargetHost::Ip(IpAddr::V4(ip)) => {
                request.put_u8(IPV4);
                request.put_slice(&ip.octets());
            }
            TargetHost::Ip(IpAddr::V6(ip)) => {
                request.put_u8(IPV6);
                request.put_slice(&ip.octets());
            }
            TargetHost::Name(name) => {
                request.put_u8(NAME);
                let length = u8::try_from(name.len()).map_err(|_| ProxyError::InvalidTarget)?;
                request.put_u8(length);
                request.put_slice(name.as_bytes());
            }
        }
        request.put_u16(target.port());
        Ok(Socks5 {
            output,
            request,
            password,
            state: State::Method,
        })
    }

    fn method(&mut self, input: &mut BytesMut) -> Result<Option<()>, ProxyError> {
        let [version, method, ..] = input[..] else {
            return Ok(None);
        };
        if version != VERSION {
            return Err(ProxyError::Malformed("not a SOCKS5 method selection"));
        }
        input.advance(2);
        match (method, self.password.take()) {
            (NO_AUTHENTICATION, _) => self.send_request(),
            (USER_AND_PASSWORD, Some(password)) => {
                self.output.unsplit(password);
                self.state = State::Status;
            }
            (NONE_ACCEPTABLE, _) => return Err(ProxyError::NoAcceptableMethod),
            _ => {
                return Err(ProxyError::Malformed(
                    "a SOCKS5 authentication method that was not offered",
                ));
            }
        }
        Ok(Some(()))
    }

    fn status(&mut self, input: &mut BytesMut) -> Result<Option<()>, ProxyError> {
        let [version, status, ..] = input[..] else {
            return Ok(None);
        };
        // Some servers answer with the version of SOCKS itself.
        if !matches!(version, PASSWORD_VERSION | VERSION) {
            return Err(ProxyError::Malformed(
                "not an answer to a user and password",
            ));
        }
        // RFC 1929 §2: 0 is success, and anything else is not.
        if status != 0 {
            return Err(ProxyError::AuthenticationFailed);
        }
        input.advance(2);
        self.send_request();
        Ok(Some(()))
    }

    fn send_request(&mut self) {
        self.output.unsplit(std::mem::take(&mut self.request));
        self.state = State::Reply;
    }

    /// Takes the reply, or leaves it if it is not complete. A refusal is reported with its second
    /// byte: not all servers send the address that should follow.
    fn reply(&mut self, input: &mut BytesMut) -> Result<Option<()>, ProxyError> {
        if input.first().is_some_and(|&version| version != VERSION) {
            return Err(ProxyError::Malformed("not a SOCKS5 reply"));
        }
        if let Some(&code) = input.get(1)
            && code != 0
        {
            return Err(ProxyError::SocksRefused(SocksReply::of_socks5(code)));
        }
        let Some(&address_type) = input.get(3) else {
            return Ok(None);
        };
        let address = match address_type {
            IPV4 => 4,
            IPV6 => 16,
            NAME => match input.get(4) {
                Some(&length) => 1 + usize::from(length),
                None => return Ok(None),
            },
            _ => return Err(ProxyError::Malformed("an unknown SOCKS5 address type")),
        };
        let length = 4 + address + 2;
        if input.len() < length {
            return Ok(None);
        }
        input.advance(length);
        Ok(Some(()))
    }
}

fn password_request(credentials: &Credentials) -> Result<BytesMut, ProxyError> {
    let mut request = BytesMut::from(&[PASSWORD_VERSION][..]);
    for part in [credentials.user(), credentials.password()] {
        // RFC 1929 §2: one byte says how long each is, and neither is empty.
        let length = u8::try_from(part.len())
            .ok()
            .filter(|&length| length > 0)
            .ok_or(ProxyError::InvalidCredentials(
                "SOCKS5 takes 1 to 255 bytes for the user and for the password",
            ))?;
        request.put_u8(length);
        request.put_slice(part.as_bytes());
    }
    Ok(request)
}

impl Negotiation for Socks5 {
    fn output(&self) -> &[u8] {
        &self.output
    }

    fn advance(&mut self, written: usize) {
        self.output.advance(written);
    }

    fn receive(&mut self, input: &mut BytesMut, eof: bool) -> Result<Progress, ProxyError> {
        // Each message answers one of ours: none may arrive before that has been sent.
        if !self.output.is_empty() && !input.is_empty() {
            return Err(ProxyError::Malformed("a SOCKS5 answer before its request"));
        }
        let done = match self.state {
            State::Method => self.method(input)?.map(|()| Progress::Pending),
            State::Status => self.status(input)?.map(|()| Progress::Pending),
            State::Reply => self.reply(input)?.map(|()| Progress::Done),
        };
        match done {
            Some(Progress::Pending) if !input.is_empty() => {
                Err(ProxyError::Malformed("a SOCKS5 answer before its request"))
            }
            Some(Progress::Pending) | None if eof => Err(ProxyError::Closed),
            Some(progress) => Ok(progress),
            None => Ok(Progress::Pending),
        }
    }
}

impl std::fmt::Debug for Socks5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The buffers may hold a password.
        f.debug_struct("Socks5")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
