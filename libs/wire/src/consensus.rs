//! Votes on many questions, column by column.

use model::expert::{ExpertId, Vote, WeighVotes, WeighedVotes};
use prost::Message as _;

use crate::{
    Error, Message,
    check::{self, At},
    proto,
};

impl Message for WeighVotes {
    const NAME: &'static str = "code.v1.WeighVotes";

    fn encode(&self) -> Vec<u8> {
        let voter = |expert: &ExpertId| proto::Voter {
            name: expert.name.to_string(),
            family: expert.family.to_string(),
            version: expert.version.clone(),
        };
        proto::WeighVotes {
            panel: self.panel.iter().map(voter).collect(),
            votes: self.votes.clone(),
            confidence: self.confidence.clone(),
            policy_json: self.policy.clone().into_bytes(),
            records_json: self.records.clone().into_bytes(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let asked: proto::WeighVotes = check::frame(Self::NAME, bytes)?;
        let voters = asked.panel.len();
        if voters == 0 || !asked.votes.len().is_multiple_of(voters) {
            let reason = format_args!("{} are no whole rows of {voters} voters", asked.votes.len());
            return Err(at.bad("votes", reason));
        }
        if let Some(vote) = asked.votes.iter().find(|vote| Vote::of(**vote).is_none()) {
            return Err(at.bad("votes", format_args!("{vote} is no vote")));
        }
        if !asked.confidence.is_empty() && asked.confidence.len() != asked.votes.len() {
            return Err(at.bad("confidence", "is not as long as the votes"));
        }
        if let Some(percent) = asked.confidence.iter().find(|percent| **percent > 100) {
            return Err(at.bad("confidence", format_args!("{percent} percent")));
        }
        let voter = |voter: proto::Voter| {
            Ok(ExpertId {
                name: at.text("panel", &voter.name)?,
                family: at.text("panel", &voter.family)?,
                version: voter.version,
            })
        };
        let json = |field, bytes| String::from_utf8(bytes).map_err(|error| at.bad(field, error));
        Ok(WeighVotes {
            panel: asked.panel.into_iter().map(voter).collect::<Result<_, Error>>()?,
            votes: asked.votes,
            confidence: asked.confidence,
            policy: json("policy_json", asked.policy_json)?,
            records: json("records_json", asked.records_json)?,
        })
    }
}

impl Message for WeighedVotes {
    const NAME: &'static str = "code.v1.WeighedVotes";

    fn encode(&self) -> Vec<u8> {
        proto::WeighedVotes {
            actions: self.actions.clone(),
            posterior: self.posterior.clone(),
            effective_votes: self.effective_votes.clone(),
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let at = At(Self::NAME);
        let weighed: proto::WeighedVotes = check::frame(Self::NAME, bytes)?;
        let questions = weighed.actions.len();
        if weighed.posterior.len() != 3 * questions || weighed.effective_votes.len() != questions {
            return Err(at.bad("posterior", "columns of different length"));
        }
        Ok(WeighedVotes {
            actions: weighed.actions,
            posterior: weighed.posterior,
            effective_votes: weighed.effective_votes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> WeighVotes {
        let voter = |name: &str| ExpertId {
            name: name.parse().unwrap(),
            family: "rules-x".parse().unwrap(),
            version: "1".into(),
        };
        WeighVotes {
            panel: vec![voter("a"), voter("b")],
            votes: vec![2, 3, 0, 1],
            confidence: vec![80, 0, 0, 100],
            policy: "{}".into(),
            records: String::new(),
        }
    }

    #[test]
    fn votes_read_back_as_they_were() {
        let asked = asked();

        assert_eq!(WeighVotes::decode(&asked.encode()).unwrap(), asked);
    }

    #[test]
    fn half_a_row_an_unknown_vote_and_too_much_confidence_are_refused() {
        for spoil in [
            (|asked: &mut WeighVotes| asked.votes.truncate(3)) as fn(&mut WeighVotes),
            |asked| asked.votes[0] = 5,
            |asked| asked.confidence[0] = 101,
            |asked| asked.confidence.truncate(1),
            |asked| asked.panel.clear(),
        ] {
            let mut spoilt = asked();
            spoil(&mut spoilt);

            assert!(WeighVotes::decode(&spoilt.encode()).is_err());
        }
    }

    #[test]
    fn an_answer_with_uneven_columns_is_refused() {
        let even =
            WeighedVotes { actions: vec![0, 3], posterior: vec![0.5; 6], effective_votes: vec![1.0; 2] };
        let uneven = WeighedVotes { posterior: vec![0.5; 5], ..even.clone() };

        assert_eq!(WeighedVotes::decode(&even.encode()).unwrap(), even);
        assert!(WeighedVotes::decode(&uneven.encode()).is_err());
    }
}
