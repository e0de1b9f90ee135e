//! Seats the experts of a panel and pools their votes: per version, then per family, then tempered.
//!
//! This is the hot path of votes without text; after [`Panel::new`] nothing allocates.

use model::expert::{Action, AnswerStatus, Ballot, ExpertId, Stance};

use crate::{
    first_day::FirstDay,
    likelihood::softmax,
    policy::{ACTIONS, Policy},
    record::{Records, Says, Voice, bucket},
};

/// The vote behind a stance: its column in the counts. Abstention is none.
pub(crate) const fn vote(stance: Stance) -> Option<usize> {
    match stance {
        Stance::Approve => Some(0),
        Stance::Reject => Some(1),
        Stance::NeedsChange => Some(2),
        Stance::Abstain => None,
    }
}

/// The vote of a ballot that counts.
pub(crate) fn vote_of(ballot: &Ballot) -> Option<usize> {
    match (ballot.status, &ballot.answer) {
        (AnswerStatus::Ok, Some(answer)) if !ballot.late => vote(answer.verdict),
        _ => None,
    }
}

/// Whether a ballot counts for the quorum: a vote, or a valid abstention.
pub(crate) fn is_valid(ballot: &Ballot) -> bool {
    let answered = matches!(ballot.status, AnswerStatus::Ok | AnswerStatus::Abstained);
    answered && ballot.answer.is_some() && !ballot.late
}

#[derive(Clone, Debug)]
struct Seat {
    voice: Voice,
    family: u32,
    version: u32,
    rules: bool,
    /// Its place in the caller's order.
    place: usize,
}

/// What one seat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// No valid answer.
    Nothing,
    /// A valid answer without a vote.
    Abstained,
    /// A vote: 0 approve, 1 reject, 2 needs_change; with the confidence that was stated with it.
    Vote(u8, u8),
}

impl Said {
    /// What a stance says.
    pub fn of(stance: Stance, confidence_pct: u8) -> Said {
        vote(stance).map_or(Said::Abstained, |vote| Said::Vote(vote as u8, confidence_pct))
    }

    fn of_ballot(ballot: &Ballot) -> Said {
        match &ballot.answer {
            Some(answer) if is_valid(ballot) => match vote_of(ballot) {
                Some(_) => Said::of(answer.verdict, answer.confidence_pct),
                None => Said::Abstained,
            },
            _ => Said::Nothing,
        }
    }
}

/// Who is left out, to see whether it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    Nobody,
    /// The seat at this place of the caller's order.
    Seat(usize),
    Family(u32),
}

/// Votes pooled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    /// The action with the least expected loss; escalate when nobody voted. Knows no quorum and no findings.
    pub action: Action,
    /// Probability of each state, tempered.
    pub posterior: [f64; 3],
    /// Expected loss of escalate, needs_change, reject and approve.
    pub losses: [f64; 4],
    /// Log-evidence per state: averaged within versions and families, summed over families.
    pub evidence: [f64; 3],
    /// The power it was taken to.
    pub temper: f64,
    /// What the votes are worth as independent ones.
    pub effective_votes: f64,
    /// Votes.
    pub votes: u32,
    /// Votes and valid abstentions.
    pub answers: u32,
    /// Families that voted.
    pub families: u32,
    /// Whether all votes are by deterministic rules.
    pub only_rules: bool,
}

/// A panel with the records of its experts looked up.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Sorted by family, then version, so that groups are neighbours.
    seats: Vec<Seat>,
    log_prior: [f64; 3],
    losses: [[f64; 3]; 4],
    across: f64,
    within: f64,
    fitted: Option<f64>,
    first_day: FirstDay,
}

impl Panel {
    /// Seats these experts. The order of votes given later is the order of this list.
    pub fn new(experts: &[&ExpertId], records: &Records, policy: &Policy) -> Panel {
        let mut order: Vec<usize> = (0..experts.len()).collect();
        order.sort_by_key(|place| {
            let expert = experts[*place];
            (expert.family.as_str(), expert.version.as_str(), expert.name.as_str(), *place)
        });
        let mut seats: Vec<Seat> = Vec::with_capacity(experts.len());
        for place in order {
            let expert = experts[place];
            let (mut family, mut version, mut known) = (0, 0, None);
            if let Some(last) = seats.last() {
                let before = experts[last.place];
                let same_family = before.family == expert.family;
                let same_version = same_family && before.version == expert.version;
                family = last.family + u32::from(!same_family);
                version = last.version + u32::from(!same_version);
                known = same_version.then(|| last.voice.clone());
            }
            let voice = known.unwrap_or_else(|| records.voice(expert));
            let rules = policy.is_rules(expert.family.as_str());
            seats.push(Seat { voice, family, version, rules, place });
        }
        let share = |raw: f64| if raw.is_finite() { raw.clamp(0.0, 1.0) } else { 1.0 };
        let across = share(policy.correlation_across);
        let families = seats.last().map_or(0, |seat| seat.family + 1);
        Panel {
            seats,
            log_prior: policy.log_prior(),
            losses: policy.losses.table(),
            across,
            first_day: FirstDay::new(across, families),
            within: share(policy.correlation_within),
            fitted: records.temper.filter(|temper| temper.is_finite() && *temper > 0.0),
        }
    }

    /// Seats those who gave these ballots.
    pub(crate) fn of_ballots(ballots: &[&Ballot], records: &Records, policy: &Policy) -> Panel {
        let experts: Vec<&ExpertId> = ballots.iter().map(|ballot| &ballot.expert).collect();
        Panel::new(&experts, records, policy)
    }

    /// The pooled evidence of ballots in the order of the seating; none without a vote.
    pub(crate) fn evidence(&self, ballots: &[&Ballot]) -> Option<[f64; 3]> {
        let said: Vec<Said> = ballots.iter().map(|ballot| Said::of_ballot(ballot)).collect();
        let tally = self.tally(&said);
        (tally.votes > 0).then_some(tally.evidence)
    }

    /// What ballots in the order of the seating say.
    pub(crate) fn said(ballots: &[&Ballot]) -> Vec<Said> {
        ballots.iter().map(|ballot| Said::of_ballot(ballot)).collect()
    }

    /// Pools votes given in the order of the experts. Missing entries say nothing, surplus ones are not looked at.
    pub fn tally(&self, said: &[Said]) -> Tally {
        self.tally_without(said, Without::Nobody)
    }

    pub(crate) fn tally_without(&self, said: &[Said], without: Without) -> Tally {
        let mut pool = Pool::new(self.across, self.within);
        let (mut votes, mut answers, mut only_rules) = (0, 0, true);
        for seat in &self.seats {
            let left_out = match without {
                Without::Nobody => false,
                Without::Seat(place) => place == seat.place,
                Without::Family(family) => family == seat.family,
            };
            if left_out {
                continue;
            }
            match said.get(seat.place).copied().unwrap_or(Said::Nothing) {
                Said::Nothing => {}
                Said::Abstained => answers += 1,
                Said::Vote(vote, confidence) => {
                    answers += 1;
                    votes += 1;
                    only_rules &= seat.rules;
                    pool.add(seat.family, seat.version, seat.says(vote, confidence));
                }
            }
        }
        let (evidence, families, effective_votes) = pool.finish();
        let temper = self.fitted.unwrap_or_else(|| self.first_day.temper(families, effective_votes));
        let mut posterior: [f64; 3] =
            std::array::from_fn(|state| self.log_prior[state] + temper * evidence[state]);
        softmax(&mut posterior);
        let (action, losses) = self.least_loss(&posterior, votes);
        let only_rules = only_rules && votes > 0;
        Tally {
            action,
            posterior,
            losses,
            evidence,
            temper,
            effective_votes,
            votes,
            answers,
            families,
            only_rules,
        }
    }

    /// Every vote at its full weight, as if all experts were independent: what a posterior must not be.
    pub(crate) fn naive(&self, said: &[Said]) -> [f64; 3] {
        let mut scores = self.log_prior;
        for seat in &self.seats {
            if let Some(Said::Vote(vote, confidence)) = said.get(seat.place) {
                for (score, one) in scores.iter_mut().zip(seat.says(*vote, *confidence)) {
                    *score += one;
                }
            }
        }
        softmax(&mut scores);
        scores
    }

    fn least_loss(&self, posterior: &[f64; 3], votes: u32) -> (Action, [f64; 4]) {
        let losses =
            self.losses.map(|row| row.iter().zip(posterior).map(|(loss, chance)| loss * chance).sum());
        if votes == 0 {
            return (Action::Escalate, losses);
        }
        let mut best = (f64::INFINITY, Action::Escalate);
        for (action, loss) in ACTIONS.into_iter().zip(losses) {
            // Losses that differ by rounding only are equal, and the more careful action stands.
            if loss < best.0 - 1e-12 {
                best = (loss, action);
            }
        }
        (best.1, losses)
    }

    /// The family of each place.
    pub(crate) fn family_of(&self, place: usize) -> u32 {
        self.seats.iter().find(|seat| seat.place == place).map_or(u32::MAX, |seat| seat.family)
    }

    /// How much each vote moves the log-odds of the state it names, tempered and shared within versions and families;
    /// 0 for those without a vote. In the order of the experts.
    pub(crate) fn weights(&self, said: &[Said], temper: f64) -> Vec<f64> {
        let voted = |seat: &&Seat| matches!(said.get(seat.place), Some(Said::Vote(..)));
        let mut weights = vec![0.0; self.seats.len()];
        for seat in self.seats.iter().filter(voted) {
            let Some(Said::Vote(vote, confidence)) = said.get(seat.place) else { continue };
            let says = seat.says(*vote, *confidence);
            let own = says[usize::from(*vote)];
            let others = (says.iter().sum::<f64>() - own) / 2.0;
            weights[seat.place] = temper * self.share(seat, said) * (own - others);
        }
        weights
    }

    /// What part of its family's voice each vote is. In the order of the experts.
    pub(crate) fn shares(&self, said: &[Said]) -> Vec<f64> {
        let mut shares = vec![0.0; self.seats.len()];
        for seat in &self.seats {
            if matches!(said.get(seat.place), Some(Said::Vote(..))) {
                shares[seat.place] = self.share(seat, said);
            }
        }
        shares
    }

    fn share(&self, seat: &Seat, said: &[Said]) -> f64 {
        let (mut same, mut versions, mut last) = (0u32, 0u32, None);
        for other in self.seats.iter().filter(|other| other.family == seat.family) {
            if !matches!(said.get(other.place), Some(Said::Vote(..))) {
                continue;
            }
            same += u32::from(other.version == seat.version);
            versions += u32::from(last != Some(other.version));
            last = Some(other.version);
        }
        1.0 / f64::from(same.max(1)) / f64::from(versions.max(1))
    }

    /// How often each expert agrees with the majority. In the order of the experts.
    pub(crate) fn agreements(&self) -> Vec<f64> {
        let mut agreements = vec![0.0; self.seats.len()];
        for seat in &self.seats {
            agreements[seat.place] = seat.voice.agreement;
        }
        agreements
    }

    /// The distinct things a missing expert could say, for trying all of them.
    pub(crate) fn options(&self, place: usize) -> Vec<Said> {
        let mut options = vec![Said::Nothing, Said::Abstained];
        let Some(seat) = self.seats.iter().find(|seat| seat.place == place) else { return options };
        for vote in 0..3 {
            if seat.voice.sure.iter().any(Option::is_none) {
                let plain = [0u8, 70, 90].into_iter().find(|pct| seat.voice.sure[bucket(*pct)].is_none());
                options.push(Said::Vote(vote, plain.unwrap_or(0)));
            }
            for confidence in [0, 70, 90] {
                if seat.voice.sure[bucket(confidence)].is_some() {
                    options.push(Said::Vote(vote, confidence));
                }
            }
        }
        options
    }
}

impl Seat {
    fn says(&self, vote: u8, confidence: u8) -> &[f64; 3] {
        let says: &Says = self.voice.sure[bucket(confidence)].as_ref().unwrap_or(&self.voice.says);
        &says[usize::from(vote.min(2))]
    }
}

/// Averages within versions, then within families, and sums over families; groups come as neighbours.
struct Pool {
    across: f64,
    within: f64,
    version: Option<u32>,
    version_sum: [f64; 3],
    version_votes: f64,
    family: Option<u32>,
    family_sum: [f64; 3],
    family_versions: f64,
    sum: [f64; 3],
    families: u32,
    variance: f64,
}

impl Pool {
    fn new(across: f64, within: f64) -> Pool {
        Pool {
            across,
            within,
            version: None,
            version_sum: [0.0; 3],
            version_votes: 0.0,
            family: None,
            family_sum: [0.0; 3],
            family_versions: 0.0,
            sum: [0.0; 3],
            families: 0,
            variance: 0.0,
        }
    }

    fn add(&mut self, family: u32, version: u32, says: &[f64; 3]) {
        if self.version != Some(version) {
            self.close_version();
            self.version = Some(version);
        }
        if self.family != Some(family) {
            self.close_family();
            self.family = Some(family);
        }
        for (sum, one) in self.version_sum.iter_mut().zip(says) {
            *sum += one;
        }
        self.version_votes += 1.0;
    }

    fn close_version(&mut self) {
        if self.version_votes > 0.0 {
            for (sum, one) in self.family_sum.iter_mut().zip(self.version_sum) {
                *sum += one / self.version_votes;
            }
            self.family_versions += 1.0;
            self.version_sum = [0.0; 3];
            self.version_votes = 0.0;
        }
    }

    fn close_family(&mut self) {
        if self.family_versions > 0.0 {
            for (sum, one) in self.sum.iter_mut().zip(self.family_sum) {
                *sum += one / self.family_versions;
            }
            // The variance of a mean of m voices with this correlation, in units of one voice's.
            self.variance += (1.0 + (self.family_versions - 1.0) * self.within) / self.family_versions;
            self.families += 1;
            self.family_sum = [0.0; 3];
            self.family_versions = 0.0;
        }
    }

    /// Evidence, families, and Kish's effective number of votes for unequal blocks.
    fn finish(mut self) -> ([f64; 3], u32, f64) {
        self.close_version();
        self.close_family();
        let families = f64::from(self.families);
        let variance = self.variance + families * (families - 1.0) * self.across;
        let effective = if variance > 0.0 { families * families / variance } else { 0.0 };
        (self.sum, self.families, effective)
    }
}
