//! Which hosts are reachable from this machine or network only. No I/O: a name is not resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// From where an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locality {
    /// From everywhere; also a name that DNS would have to tell about.
    Global,
    /// From this machine.
    Loopback,
    /// From this link, where cloud providers serve the credentials of machines.
    Link,
    /// From this site.
    Private,
    /// From nowhere, or from a group of hosts: unspecified, multicast, reserved.
    Special,
}

impl Locality {
    /// Of the host of a URL, whose address is in its canonical notation.
    pub(crate) fn of(host: &str) -> Self {
        let address = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        match address.unwrap_or(host).parse() {
            Ok(IpAddr::V4(address)) => Self::of_v4(address),
            Ok(IpAddr::V6(address)) => Self::of_v6(address),
            Err(_) if is_localhost(host) => Self::Loopback,
            Err(_) => Self::Global,
        }
    }

    /// The blocks of RFC 6890 that are not globally reachable.
    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::Link,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            // This network, protocol assignments, documentation, benchmarks, multicast, reserved.
            [0 | 224..=255, ..]
            | [192, 0, 0 | 2, _]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Self::Special,
            _ => Self::Global,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_loopback() {
            return Self::Loopback;
        }
        let [a, b, c, d, e, f, g, h] = address.segments();
        let v4 = |high: u16, low: u16| {
            let bits = u32::from(high) << 16 | u32::from(low);
            Self::of_v4(Ipv4Addr::from(bits))
        };
        match [a, b, c, d, e, f] {
            // Mapped and compatible (RFC 4291 §2.5.5), translated (RFC 6052 §2.1), NAT64.
            [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0, 0] | [0, 0, 0, 0, 0xffff, 0] => v4(g, h),
            [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
            // 6to4 (RFC 3056 §2).
            [0x2002, ..] => v4(b, c),
            [0xfe80..=0xfebf, ..] => Self::Link,
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Self::Private,
            // Documentation.
            [0x2001, 0xdb8, ..] => Self::Special,
            // Global unicast (RFC 4291 §2.4) is what has been assigned so far.
            [0x2000..=0x3fff, ..] => Self::Global,
            _ => Self::Special,
        }
    }

    /// Whether a host like this may name one like `other`. A loopback host is this machine, which
    /// reaches all that it names anyway.
    pub(crate) fn may_name(self, other: Self) -> bool {
        other == Self::Global || self == Self::Loopback || (self == other && self != Self::Special)
    }
}

/// `localhost` and all names below it (RFC 6761 §6.3), with or without the root's dot.
fn is_localhost(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
    last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_52_each_kind_of_host_is_classified() {
        for (locality, hosts) in [
            (
                Locality::Loopback,
                &[
                    "localhost",
                    "LocalHost",
                    "localhost.",
                    "a.localhost",
                    "a.b.localhost.",
                    "127.0.0.1",
                    "127.255.0.9",
                    "[::1]",
                    "[::ffff:127.0.0.1]",
                    "[::ffff:7f00:1]",
                    "[::127.0.0.1]",
                    "[::ffff:0:127.0.0.1]",
                    "[64:ff9b::127.0.0.1]",
                    "[2002:7f00:1::]",
                ][..],
            ),
            (
                Locality::Link,
                &[
                    "169.254.169.254",
                    "[fe80::1]",
                    "[febf::1]",
                    "[::ffff:169.254.169.254]",
                    "[64:ff9b::a9fe:a9fe]",
                ],
            ),
            (
                Locality::Private,
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.1.1",
                    "100.64.0.1",
                    "100.127.0.1",
                    "[fc00::1]",
                    "[fd00:ec2::254]",
                    "[fec0::1]",
                    "[::ffff:10.0.0.1]",
                ],
            ),
            (
                Locality::Special,
                &[
                    "0.0.0.0",
                    "0.1.2.3",
                    "192.0.0.1",
                    "198.18.0.1",
                    "224.0.0.1",
                    "255.255.255.255",
                    "[::]",
                    "[::ffff:0.0.0.0]",
                    "[ff02::1]",
                    "[100::1]",
                    "[64:ff9b:1::1]",
                    "[4000::1]",
                ],
            ),
            (
                Locality::Global,
                &[
                    "id.example.com",
                    "localhost.example.com",
                    "notlocalhost",
                    "9.9.9.9",
                    "11.0.0.1",
                    "100.63.0.1",
                    "100.128.0.1",
                    "126.0.0.1",
                    "128.0.0.1",
                    "169.253.0.1",
                    "172.15.0.1",
                    "172.32.0.1",
                    "192.167.0.1",
                    "198.20.0.1",
                    "223.255.255.255",
                    "[2620:fe::fe]",
                    "[::ffff:9.9.9.9]",
                    "[64:ff9b::9.9.9.9]",
                ],
            ),
        ] {
            for host in hosts {
                assert_eq!(Locality::of(host), locality, "{host}");
            }
        }
    }
}
