use std::collections::BTreeMap;

use model::{
    Span, Timestamp, Token,
    plan::Revision,
    route::{Endpoint, PeerPort, Pin, RevisionCount, RouteTable, TrafficCount, Weights},
};
use prost::Message as _;

use crate::{
    Error, Message,
    check::{self, At},
    proto,
};

impl Message for RouteTable {
    const NAME: &'static str = "code.v1.RouteTable";

    fn encode(&self) -> Vec<u8> {
        let endpoint = |endpoint: &Endpoint| proto::Endpoint {
            instance: endpoint.instance.clone(),
            address: endpoint.address.clone(),
            ports: endpoint.ports.iter().map(|(name, at)| (name.to_string(), at.clone())).collect(),
        };
        let endpoints = |(revision, places): (&Revision, &Vec<Endpoint>)| {
            (revision.to_string(), proto::Endpoints { endpoints: places.iter().map(endpoint).collect() })
        };
        let pin = |pin: &Pin| proto::Pin {
            source: pin.source.clone(),
            value: pin.value.clone(),
            revision: pin.revision.to_string(),
        };
        let peer = |(name, peer): (&Token, &PeerPort)| {
            (name.to_string(), proto::PeerPort { listen: u32::from(peer.listen), http: peer.http })
        };
        let weight = |(revision, share): (&Revision, &u8)| (revision.to_string(), u32::from(*share));
        proto::RouteTable {
            target: check::target(&self.target),
            module: self.module.to_string(),
            listen: u32::from(self.listen),
            version: self.version,
            fence: check::fence(self.fence),
            weights: self.weights.0.iter().map(weight).collect(),
            endpoints: self.endpoints.iter().map(endpoints).collect(),
            pins: self.pins.iter().map(pin).collect(),
            sticky_cookie: self.sticky_cookie.clone(),
            request_timeout_ms: check::millis(self.request_timeout.0),
            internal: self.internal,
            peers: self.peers.iter().map(peer).collect(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let table: proto::RouteTable = check::frame(Self::NAME, bytes)?;
        let mut weights = Weights::default();
        for (revision, share) in &table.weights {
            let share =
                u8::try_from(*share).map_err(|_| at.bad("weights", format_args!("{share} percent")))?;
            weights.0.insert(at.text("weights", revision)?, share);
        }
        if !weights.is_valid() {
            return Err(at.bad("weights", format_args!("{weights} does not sum to 100")));
        }
        let mut endpoints = BTreeMap::new();
        for (revision, places) in table.endpoints {
            let mut all = Vec::new();
            for place in places.endpoints {
                let mut ports = BTreeMap::new();
                for (name, address) in place.ports {
                    ports.insert(at.text::<Token>("endpoints", &name)?, address);
                }
                all.push(Endpoint { instance: place.instance, address: place.address, ports });
            }
            endpoints.insert(at.text::<Token>("endpoints", &revision)?, all);
        }
        let port = |field, number: u32| {
            u16::try_from(number).map_err(|_| at.bad(field, format_args!("{number} is not a port")))
        };
        let mut peers = BTreeMap::new();
        for (name, peer) in &table.peers {
            let peer = PeerPort { listen: port("peers", peer.listen)?, http: peer.http };
            peers.insert(at.text::<Token>("peers", name)?, peer);
        }
        let pin = |pin: proto::Pin| {
            Ok(Pin { revision: at.text("pins", &pin.revision)?, source: pin.source, value: pin.value })
        };
        Ok(RouteTable {
            target: at.target("target", table.target)?,
            module: at.text("module", &table.module)?,
            listen: port("listen", table.listen)?,
            internal: table.internal,
            peers,
            version: table.version,
            fence: at.fence("fence", table.fence)?,
            weights,
            endpoints,
            pins: table.pins.into_iter().map(pin).collect::<Result<_, Error>>()?,
            sticky_cookie: table.sticky_cookie,
            request_timeout: Span::millis(table.request_timeout_ms),
        })
    }
}

impl Message for TrafficCount {
    const NAME: &'static str = "code.v1.TrafficCount";

    fn encode(&self) -> Vec<u8> {
        let count = |(revision, count): (&Revision, &RevisionCount)| {
            let (buckets, counts) = count.latency.iter().copied().unzip();
            let count = proto::RevisionCount {
                requests: count.requests,
                errors: count.errors,
                retried: count.retried,
                in_flight: count.in_flight,
                buckets,
                counts,
                connections: count.connections,
                refused: count.refused,
                connected: count.connected,
            };
            (revision.to_string(), count)
        };
        proto::TrafficCount {
            plane: self.plane.clone(),
            target: check::target(&self.target),
            module: self.module.to_string(),
            version: self.version,
            at: self.at.0,
            revisions: self.revisions.iter().map(count).collect(),
            unroutable: self.unroutable,
            closed: self.closed.clone().unwrap_or_default(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let traffic: proto::TrafficCount = check::frame(Self::NAME, bytes)?;
        let mut revisions = BTreeMap::new();
        for (revision, count) in traffic.revisions {
            if count.buckets.len() != count.counts.len() {
                return Err(at.bad("buckets", "has another length than counts"));
            }
            let count = RevisionCount {
                requests: count.requests,
                errors: count.errors,
                retried: count.retried,
                in_flight: count.in_flight,
                connections: count.connections,
                refused: count.refused,
                connected: count.connected,
                latency: count.buckets.into_iter().zip(count.counts).collect(),
            };
            revisions.insert(at.text::<Token>("revisions", &revision)?, count);
        }
        Ok(TrafficCount {
            plane: traffic.plane,
            target: at.target("target", traffic.target)?,
            module: at.text("module", &traffic.module)?,
            version: traffic.version,
            at: Timestamp(traffic.at),
            revisions,
            unroutable: traffic.unroutable,
            closed: Some(traffic.closed).filter(|why| !why.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use model::Fence;
    use proptest::prelude::*;

    use super::*;

    fn table(share: u8) -> RouteTable {
        let (old, new): (Revision, Revision) = ("aaa".parse().unwrap(), "bbb".parse().unwrap());
        RouteTable {
            target: "prod.docker.shop".parse().unwrap(),
            module: "web".parse().unwrap(),
            listen: 8080,
            internal: share == 0,
            peers: [("pg".parse().unwrap(), PeerPort { listen: 30001, http: share == 1 })].into(),
            version: 3,
            fence: Fence { lock: 2, epoch: 5 },
            weights: Weights::split(new.clone(), share, old),
            endpoints: [(
                new.clone(),
                vec![Endpoint {
                    instance: "i1".into(),
                    address: "10.0.0.1:80".into(),
                    ports: [("pg".parse().unwrap(), "10.0.0.1:5432".into())].into(),
                }],
            )]
            .into(),
            pins: vec![Pin { source: "x-canary".into(), value: "yes".into(), revision: new }],
            sticky_cookie: Some("code-sticky".into()),
            request_timeout: Span::seconds(30),
        }
    }

    proptest! {
        #[test]
        fn a_route_table_reads_back_as_it_was(share in 0u8..=100) {
            prop_assert_eq!(RouteTable::decode(&table(share).encode()).unwrap(), table(share));
        }

        #[test]
        fn a_count_reads_back_as_it_was(requests: u64, latency in proptest::collection::vec(any::<(u32, u64)>(), 0..20)) {
            let count = TrafficCount {
                plane: "rep-1".into(),
                target: "prod.docker.shop".parse().unwrap(),
                module: "web".parse().unwrap(),
                version: 3,
                at: Timestamp(-5),
                revisions: [("aaa".parse().unwrap(), RevisionCount { requests, latency, connections: requests, refused: 1, connected: 2, ..Default::default() })].into(),
                unroutable: 1,
                closed: (requests % 2 == 0).then(|| "cannot listen".to_owned()),
            };
            prop_assert_eq!(TrafficCount::decode(&count.encode()).unwrap(), count);
        }
    }

    #[test]
    fn weights_that_do_not_sum_to_a_hundred_are_refused() {
        let mut frame = proto::RouteTable::decode(table(10).encode().as_slice()).unwrap();
        frame.weights.insert("aaa".into(), 89);

        let error = RouteTable::decode(&frame.encode_to_vec()).unwrap_err();

        assert!(error.to_string().contains("sum to 100"), "{error}");
    }
}
