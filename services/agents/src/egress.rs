//! Which addresses a spec may make the agents ask.
//!
//! A spec names metric providers by address, and the agents ask them from inside the cluster: without a guard, whoever
//! may hand in a spec reads what only the inside may read. So a name is resolved once, every address is judged here,
//! and the connection goes to an address that was judged and not to the name again. Link-local addresses, where clouds
//! serve credentials, are never asked; loopback and private ones only where the settings allow them.
//!
//! A spec names registries too, in the names of images. The Docker daemon asks them, by a look at the name of its own: so
//! all addresses of the name must be allowed, when the plan is reviewed and again before the daemon is asked. That the
//! name means the same to the daemon a moment later nobody here can say.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use hyper::Uri;
use ipnet::IpNet;
use tokio::net::lookup_host;

/// How long the addresses of a registry's name are waited for.
const LOOKUP: Duration = Duration::from_secs(5);

/// The setting that allows more.
const SETTING: &str = "agents.egress_allow (CODE_AGENTS_EGRESS_ALLOW)";
/// Addresses outside the link-local ranges at which clouds serve credentials: AWS over IPv6, Alibaba, Oracle.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// What the settings allow beside public addresses. Default nothing.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    loopback: bool,
    private: bool,
    networks: Vec<IpNet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Loopback,
    Private,
    /// Of no use to a metric, or of use to a thief only.
    Never(&'static str),
}

impl Egress {
    /// Reads `loopback`, `private`, or networks such as `10.2.0.0/16`; the error is the entry that is none of them.
    pub fn parse(entries: &[String]) -> Result<Egress, String> {
        let mut egress = Egress::default();
        for entry in entries {
            match entry.trim() {
                "loopback" => egress.loopback = true,
                "private" => egress.private = true,
                network => match network
                    .parse::<IpNet>()
                    .ok()
                    .or_else(|| network.parse::<IpAddr>().ok().map(IpNet::from))
                {
                    Some(network) => egress.networks.push(network),
                    None => return Err(entry.clone()),
                },
            }
        }
        Ok(egress)
    }

    /// Whether all of these addresses may be asked; the error is the first one's that may not.
    pub fn check_all(&self, addresses: &[IpAddr]) -> Result<(), String> {
        addresses.iter().try_for_each(|address| self.check(*address))
    }

    /// Whether the address may be asked; the error names the setting that would allow it.
    pub fn check(&self, address: IpAddr) -> Result<(), String> {
        let meant = meant(address);
        let allowed = |flag: bool, kind: &str| {
            if flag || self.networks.iter().any(|network| network.contains(&meant)) {
                Ok(())
            } else {
                Err(format!(
                    "{address} is a {kind} address, which a spec may not make the engine ask; {SETTING} allows it \
                     with \"{kind}\" or the network"
                ))
            }
        };
        match kind(meant) {
            Kind::Public => Ok(()),
            Kind::Loopback => allowed(self.loopback, "loopback"),
            Kind::Private => allowed(self.private, "private"),
            Kind::Never(what) => Err(format!(
                "{address} is {what}, which the engine never asks for a spec, whatever is allowed"
            )),
        }
    }
}

#[async_trait::async_trait]
impl platform_docker::Registries for Egress {
    async fn check_registry(&self, registry: &str) -> Result<(), String> {
        self.check_all(&addresses(registry).await?)
    }
}

/// The addresses that the host of `host` or `host:port` has, at least one.
pub async fn addresses(authority: &str) -> Result<Vec<IpAddr>, String> {
    let read: Uri = format!("http://{authority}/")
        .parse()
        .map_err(|error| format!("{authority} is no address: {error}"))?;
    let host = read.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let none = |why: &str| format!("{host} has no address: {why}");
    let found = tokio::time::timeout(LOOKUP, lookup_host((host, 0))).await;
    let found =
        found.map_err(|_| none("nobody said one in time"))?.map_err(|error| none(&error.to_string()))?;
    let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    if found.is_empty() { Err(none("none is known")) } else { Ok(found) }
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64 (RFC 6052) and 6to4 (RFC 3056).
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let octets = six.octets();
    let four =
        |at: usize| IpAddr::V4(Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]));
    match six.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => four(12),
        [0, 0, 0, 0, 0, 0, high, low] if (high, low) != (0, 0) && (high, low) != (0, 1) => four(12),
        [0x2002, ..] => four(2),
        _ => address,
    }
}

fn kind(address: IpAddr) -> Kind {
    if METADATA.contains(&address) {
        return Kind::Never("a cloud's metadata address");
    }
    match address {
        IpAddr::V4(four) => {
            let [a, b, ..] = four.octets();
            match (a, b) {
                (169, 254) => Kind::Never("a link-local address"),
                (0, _) => Kind::Never("no address of a host"),
                (224.., _) => Kind::Never("a multicast or reserved address"),
                (127, _) => Kind::Loopback,
                // Shared (RFC 6598), special (RFC 6890) and benchmarking (RFC 2544) ranges are no one's public hosts.
                (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) | (198, 18..=19) => Kind::Private,
                (192, 0) if four.octets()[2] == 0 => Kind::Private,
                _ => Kind::Public,
            }
        }
        IpAddr::V6(six) => match six.segments()[0] {
            _ if six.is_unspecified() => Kind::Never("no address of a host"),
            _ if six.is_loopback() => Kind::Loopback,
            0xfe80..=0xfebf => Kind::Never("a link-local address"),
            0xff00.. => Kind::Never("a multicast or reserved address"),
            // Unique local (RFC 4193), the old site-local range and local NAT64 prefixes (RFC 8215).
            0xfc00..=0xfdff | 0xfec0..=0xfeff => Kind::Private,
            0x64 => Kind::Private,
            _ => Kind::Public,
        },
    }
}

#[cfg(test)]
mod tests {
    use platform_docker::Registries as _;

    use super::*;

    fn allowing(entries: &[&str]) -> Egress {
        Egress::parse(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn is_allowed(egress: &Egress, address: &str) -> bool {
        egress.check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn without_settings_only_public_addresses_are_asked() {
        let none = Egress::default();

        for public in ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"] {
            assert!(is_allowed(&none, public), "{public}");
        }
        for inside in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "fd12::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "::10.0.0.1",
        ] {
            assert!(!is_allowed(&none, inside), "{inside}");
        }
    }

    #[test]
    fn link_local_and_metadata_addresses_are_never_asked() {
        let all = allowing(&["loopback", "private", "0.0.0.0/0", "::/0"]);

        for never in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
        ] {
            assert!(!is_allowed(&all, never), "{never}");
        }
        assert!(is_allowed(&all, "127.0.0.1") && is_allowed(&all, "10.0.0.1"));
    }

    #[test]
    fn what_is_allowed_is_allowed_and_no_more() {
        let loopback = allowing(&["loopback"]);
        assert!(is_allowed(&loopback, "127.0.0.1") && is_allowed(&loopback, "::1"));
        assert!(!is_allowed(&loopback, "10.0.0.1"));

        let one = allowing(&["10.2.0.0/16", "192.168.7.7"]);
        assert!(is_allowed(&one, "10.2.3.4") && is_allowed(&one, "192.168.7.7"));
        assert!(!is_allowed(&one, "10.3.0.1") && !is_allowed(&one, "192.168.7.8"));
    }

    #[test]
    fn a_refusal_names_the_setting() {
        let refused = Egress::default().check("127.0.0.1".parse().unwrap()).unwrap_err();

        assert!(refused.contains("egress_allow") && refused.contains("\"loopback\""), "{refused}");
        assert_eq!(Egress::parse(&["localhost".to_owned()]).unwrap_err(), "localhost");
    }

    #[tokio::test]
    async fn a_registry_inside_is_refused_by_name_and_by_number_unless_it_is_allowed() {
        let (none, loopback) = (Egress::default(), allowing(&["loopback"]));

        for inside in ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000", "127.1:5000"] {
            let refused = Egress::check(&none, addresses(inside).await.unwrap()[0]).unwrap_err();
            assert!(refused.contains("agents.egress_allow"), "{refused}");
            assert_eq!(none.check_registry(inside).await, Err(refused));
            assert_eq!(loopback.check_registry(inside).await, Ok(()), "{inside}");
        }
        for never in ["169.254.169.254", "169.254.169.254:80", "[fd00:ec2::254]"] {
            assert!(loopback.check_registry(never).await.is_err(), "{never}");
        }
        let nowhere = none.check_registry("registry.invalid").await.unwrap_err();
        assert!(nowhere.starts_with("registry.invalid has no address"), "{nowhere}");
    }
}
