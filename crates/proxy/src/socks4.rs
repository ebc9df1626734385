//! SOCKS 4 and 4a, as a machine.

use bytes::{Buf, BytesMut};

use std::net::IpAddr;

use crate::{
    error::{ProxyError, SocksReply},
    negotiation::{Negotiation, Progress},
    target::{Target, TargetHost},
};

const VERSION: u8 = 4;
const CONNECT: u8 = 1;
const GRANTED: u8 = 90;
const REPLY_BYTES: usize = 8;
/// Maximum length of a user in bytes. The protocol has none; this is SOCKS5's.
const MAX_USER: usize = 255;

/// A SOCKS 4 or 4a negotiation: one request, one reply of eight bytes.
///
/// A target that is a name makes it 4a: the proxy resolves it. SOCKS 4 has no password; the user is sent
/// as it is.
#[derive(Debug)]
pub struct Socks4 {
    output: BytesMut,
}

impl Socks4 {
    /// Starts a negotiation for `target`, on behalf of `user`.
    ///
    /// # Errors
    ///
    /// [`ProxyError::UnsupportedTarget`] for an IPv6 address, [`ProxyError::InvalidCredentials`]
    /// for a user with a zero byte or of more than 255 bytes.
    pub fn new(target: &Target, user: Option<&str>) -> Result<Self, ProxyError> {
        let user = user.unwrap_or_default();
        if user.contains('\0') {
            return Err(ProxyError::InvalidCredentials(
                "a zero byte ends a SOCKS4 user",
            ));
        }
        if user.len() > MAX_USER {
            return Err(ProxyError::InvalidCredentials("more than 255 bytes"));
        }
        let mut output = BytesMut::from(&[VERSION, CONNECT][..]);
        output.extend_from_slice(&target.port().to_be_bytes());
        let mut name = None;
        match target.host() {
            TargetHost::Ip(IpAddr::V4(ip)) => output.extend_from_slice(&ip.octets()),
            TargetHost::Ip(IpAddr::V6(_)) => {
                return Err(ProxyError::UnsupportedTarget(
                    "SOCKS4 cannot connect to an IPv6 address",
                ));
            }
            // SOCKS 4a: an address of 0.0.0.x with x other than 0 says that a name follows the user.
            TargetHost::Name(host) => {
                output.extend_from_slice(&[0, 0, 0, 1]);
                name = Some(host);
            }
        }
        output.extend_from_slice(user.as_bytes());
        output.extend_from_slice(&[0]);
        if let Some(name) = name {
            output.extend_from_slice(name.as_bytes());
            output.extend_from_slice(&[0]);
        }
        Ok(Socks4 { output })
    }
}

impl Negotiation for Socks4 {
    fn output(&self) -> &[u8] {
        &self.output
    }

    fn advance(&mut self, written: usize) {
        self.output.advance(written);
    }

    fn receive(&mut self, input: &mut BytesMut, eof: bool) -> Result<Progress, ProxyError> {
        // The reply's version is 0, not 4; some servers answer with 4.
        if input
            .first()
            .is_some_and(|version| !matches!(version, 0 | 4))
        {
            return Err(ProxyError::Malformed("not a SOCKS4 reply"));
        }
        if let Some(&code) = input.get(1)
            && code != GRANTED
        {
            return Err(ProxyError::SocksRefused(SocksReply::of_socks4(code)));
        }
        if input.len() < REPLY_BYTES {
            return if eof {
                Err(ProxyError::Closed)
            } else {
                Ok(Progress::Pending)
            };
        }
        if !self.output.is_empty() {
            return Err(ProxyError::Malformed("a SOCKS4 reply before its request"));
        }
        input.advance(REPLY_BYTES);
        Ok(Progress::Done)
    }
}
