//! Where a request comes from: who is at the other end of the connection, or whom the proxies before us name.
//!
//! `X-Forwarded-For` says what its sender likes; only what our own proxies have added to it is to be believed. Each adds
//! the address that it sees at its end, so with one proxy the last entry is the client, with two the one before it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{Extensions, HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address at the other end of a connection: what accepts connections adds it to every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Of a request that came through `trusted_proxies` of ours. One without [`Peer`] came through no connection.
    pub fn of(extensions: &Extensions, headers: &HeaderMap, trusted_proxies: usize) -> Self {
        let peer = extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| *address);
        let mut address = peer;
        if trusted_proxies > 0 {
            let values = headers.get_all(FORWARDED_FOR).iter();
            let entries: Vec<&[u8]> = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).collect();
            // From ourselves outwards. What is no address ends it: nobody knows what stands further out.
            for entry in entries.into_iter().rev().take(trusted_proxies) {
                let Some(named) = parse(entry) else { break };
                address = named;
            }
        }
        Self(address.to_canonical())
    }

    /// What one subscriber has: an IPv4 address, or the IPv6 network from which they take addresses as they like.
    pub fn network(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
        }
    }
}

/// An address, perhaps with a port, as some proxies write it.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
