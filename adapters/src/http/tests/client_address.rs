//! Whom a request is taken to come from.

use std::net::IpAddr;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use crate::http::client_address::{ClientAddress, Peer};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn of(peer: &str, forwarded: &[&'static str], trusted_proxies: usize) -> IpAddr {
    let mut extensions = Extensions::new();
    extensions.insert(Peer(address(peer)));
    let name = HeaderName::from_static("x-forwarded-for");
    let headers: HeaderMap = forwarded.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect();
    ClientAddress::of(&extensions, &headers, trusted_proxies).0
}

#[test]
fn without_proxies_the_header_means_nothing() {
    assert_eq!(of("192.0.2.1", &["198.51.100.7"], 0), address("192.0.2.1"));
}

#[test]
fn what_ones_own_proxies_have_added_counts_and_nothing_before() {
    let forged = &["203.0.113.9, 198.51.100.7", "192.0.2.2"];
    assert_eq!(of("192.0.2.1", forged, 1), address("192.0.2.2"));
    assert_eq!(of("192.0.2.1", forged, 2), address("198.51.100.7"));
    assert_eq!(of("192.0.2.1", &[], 1), address("192.0.2.1"), "a request that came past the proxy");
    assert_eq!(of("192.0.2.1", &["198.51.100.7"], 5), address("198.51.100.7"), "through fewer than there are");
}

#[test]
fn what_is_no_address_ends_the_way_outwards() {
    assert_eq!(of("192.0.2.1", &["198.51.100.7, unknown, 192.0.2.2"], 3), address("192.0.2.2"));
    assert_eq!(of("192.0.2.1", &[""], 1), address("192.0.2.1"));
}

#[test]
fn ports_brackets_and_mapped_addresses_are_read() {
    for (written, meant) in [
        ("198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
    ] {
        assert_eq!(of("192.0.2.1", &[written], 1), address(meant), "{written}");
    }
}

#[test]
fn an_ipv6_network_is_one_caller() {
    let network = |text| ClientAddress(address(text)).network();
    assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2:ffff::1"));
    assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
}
