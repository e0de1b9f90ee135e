//! Shapes that issuers document, so that a leaked key can be found: the whole match is the secret.
//!
//! Which issuers there are and how their keys begin was taken from the rule sets that the field keeps (gitleaks,
//! trufflehog, detect-secrets). Lengths here are lower bounds, since issuers lengthen their keys.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

/// What a shape is called in a mask, and its pattern.
pub(crate) const SHAPES: &[(&str, &str)] = &[
    ("age key", r"AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]{50,}"),
    ("NATS seed", r"\bS[UAONCX][A-Z2-7]{56}\b"),
    ("JSON web token", r"\bey[A-Za-z0-9_-]{12,}\.ey[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    ("password hash", r"\$(?:2[abxy]|5|6|y|apr1|argon2(?:id?|d)|scrypt)\$[A-Za-z0-9./$=,+-]{20,}"),
    ("1Password key", r"\bA3-[A-Z0-9]{6}-[A-Z0-9]{6}-?[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}\b"),
    ("1Password token", r"\bops_eyJ[A-Za-z0-9+/]{40,}={0,3}"),
    ("Adobe secret", r"\bp8e-[A-Za-z0-9_-]{32}\b"),
    ("Airtable token", r"\bpat[A-Za-z0-9]{14}\.[a-f0-9]{64}\b"),
    ("Alibaba access key", r"\bLTAI[A-Za-z0-9]{16,24}\b"),
    ("Anthropic key", r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    ("JFrog key", r"\bAKCp[A-Za-z0-9]{60,}"),
    ("JFrog token", r"\bcmVmd[A-Za-z0-9]{59}\b"),
    ("Atlassian token", r"\bAT(?:ATT|CTT|BBT)3?[A-Za-z0-9_=-]{24,}"),
    ("AWS access key", r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    ("AWS Bedrock key", r"\bABSK[A-Za-z0-9+/]{100,}={0,2}"),
    ("Azure secret", r"\b[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}"),
    ("Azure connection key", r"\b(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/=]{40,}"),
    ("Buildkite token", r"\bbk(?:ua|at|ct)_[A-Za-z0-9]{32,}"),
    ("Cerebras or Groq key", r"\b(?:csk-|gsk_)[A-Za-z0-9]{40,}"),
    ("CircleCI token", r"\bCCIPAT_[A-Za-z0-9_]{30,}"),
    ("ClickHouse key", r"\b4b1d[A-Za-z0-9]{38}\b"),
    ("Clojars token", r"\bCLOJARS_[A-Za-z0-9]{60}"),
    ("Cloudflare key", r"\bv1\.0-[a-f0-9]{24}-[a-f0-9]{100,}"),
    ("crates.io token", r"\bcio[A-Za-z0-9]{32}\b"),
    ("Databricks token", r"\bdapi[a-f0-9]{32}(?:-[0-9])?\b"),
    ("Datadog key", r"\bdd(?:og|ap)_[A-Za-z0-9]{30,}"),
    ("DigitalOcean token", r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
    ("Discord webhook", r"discord(?:app)?\.com/api/webhooks/[0-9]{15,}/[A-Za-z0-9_-]{40,}"),
    ("Discord token", r"\b[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}"),
    ("Docker token", r"\bdckr_[po]at_[A-Za-z0-9_-]{20,}"),
    ("Doppler token", r"\bdp\.(?:pt|st|ct|scim|audit|sa)\.[A-Za-z0-9_.-]{40,}"),
    ("Duffel token", r"\bduffel_(?:test|live)_[A-Za-z0-9_=-]{43}"),
    ("Dynatrace token", r"\bdt0[a-z][0-9]{2}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}"),
    ("EasyPost key", r"\bEZ[AT]K[A-Za-z0-9]{54}\b"),
    ("Facebook token", r"\bEAA[A-Za-z0-9]{90,}"),
    ("Figma token", r"\bfig[dor]_[A-Za-z0-9_-]{40,}"),
    ("Flutterwave key", r"\bFLW(?:SEC|PUB)K(?:_TEST)?-[A-Za-z0-9-]{12,}"),
    ("Fly.io token", r"\b(?:fo1_[A-Za-z0-9_-]{43}|fm[12][ar]?_[A-Za-z0-9+/_=-]{60,})"),
    ("Frame.io token", r"\bfio-u-[A-Za-z0-9_=-]{64}"),
    ("GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,}"),
    ("GitHub token", r"\bgithub_pat_[A-Za-z0-9_]{50,}"),
    ("GitLab token", r"\bgl(?:pat|dt|ft|ptt|rt|soat|cbt|imt|agent|oas|ffct|wt)-[A-Za-z0-9_.-]{20,}"),
    ("GitLab token", r"\bGR1348941[A-Za-z0-9_-]{20,}"),
    ("Google API key", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("Google access token", r"\bya29\.[A-Za-z0-9_-]{20,}"),
    ("Google secret", r"\bGOCSPX-[A-Za-z0-9_-]{20,}"),
    ("Google refresh token", r"\b1//0[A-Za-z0-9_-]{40,}"),
    (
        "Google chat webhook",
        r"chat\.googleapis\.com/v1/spaces/[A-Za-z0-9_-]+/messages\?key=[A-Za-z0-9_%&=-]{20,}",
    ),
    ("Grafana token", r"\bgl(?:c_[A-Za-z0-9+/]{32,}={0,3}|sa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8})"),
    ("Harness token", r"\b[ps]at\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}"),
    ("HashiCorp token", r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}"),
    ("Heroku key", r"\bHRKU-[A-Za-z0-9_-]{36,}"),
    ("HubSpot token", r"\bpat-(?:na|eu)[0-9]-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}\b"),
    ("Hugging Face token", r"\b(?:hf_|api_org_)[A-Za-z0-9]{30,}\b"),
    ("Infracost key", r"\bico-[A-Za-z0-9]{32}\b"),
    ("Linear key", r"\blin_(?:api|oauth)_[A-Za-z0-9]{32,}"),
    ("MailChimp key", r"\b[a-f0-9]{32}-us[0-9]{1,2}\b"),
    ("Mailgun key", r"\bkey-[a-f0-9]{32}\b"),
    ("Mapbox token", r"\bsk\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"),
    ("MaxMind key", r"\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk\b"),
    ("New Relic key", r"\bNR(?:AK|JS|II|RA)-[A-Za-z0-9_-]{18,}"),
    ("Notion token", r"\b(?:ntn_[A-Za-z0-9]{40,}|secret_[A-Za-z0-9]{43}\b)"),
    ("npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("NuGet key", r"\boy2[a-z0-9]{43}\b"),
    ("Octopus key", r"\bAPI-[A-Z0-9]{26}\b"),
    ("OpenAI key", r"\bsk-(?:proj|svcacct|admin|or|None)-[A-Za-z0-9_-]{20,}"),
    ("OpenShift token", r"\bsha256~[A-Za-z0-9_-]{43}"),
    ("Perplexity key", r"\bpplx-[A-Za-z0-9]{40,}"),
    ("PlanetScale key", r"\bpscale_(?:tkn|oauth|pw)_[A-Za-z0-9_=.-]{32,}"),
    ("Postman key", r"\bPMAK-[a-f0-9]{24}-[a-f0-9]{34}\b"),
    ("Prefect key", r"\bpn[ub]_[A-Za-z0-9]{36}\b"),
    ("Pulumi token", r"\bpul-[a-f0-9]{40}\b"),
    ("PyPI token", r"\bpypi-[A-Za-z0-9_-]{50,}"),
    ("ReadMe key", r"\brdme_[a-z0-9]{70}"),
    ("Replicate token", r"\br8_[A-Za-z0-9]{37,}\b"),
    ("RubyGems key", r"\brubygems_[a-f0-9]{48}\b"),
    ("SendGrid key", r"\bSG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"),
    ("Sendinblue key", r"\bxkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}"),
    ("Sentry token", r"\bsntr(?:ys_eyJ[A-Za-z0-9+/=_]{40,}|yu_[a-f0-9]{64})"),
    ("Settlemint token", r"\bsm_[aps]at_[A-Za-z0-9]{16,}"),
    ("Shippo token", r"\bshippo_(?:live|test)_[a-fA-F0-9]{40}"),
    ("Shopify token", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    ("Slack token", r"\bxox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}"),
    ("Slack token", r"\bxapp-[0-9]-[A-Za-z0-9]+-[0-9]+-[A-Za-z0-9]+"),
    ("Slack webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{30,}"),
    ("SonarQube token", r"\bsq[apu]_[a-f0-9]{40}\b"),
    ("Sourcegraph token", r"\bsgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}\b"),
    ("Square token", r"\b(?:EAAA[A-Za-z0-9_-]{56,}|sq0[a-z]{3}-[A-Za-z0-9_-]{22,})"),
    ("Stripe key", r"\b[rs]k_(?:live|test|prod)_[A-Za-z0-9]{10,}"),
    ("Supabase key", r"\bsb(?:p_[a-f0-9]{40}|_secret_[A-Za-z0-9_-]{20,})"),
    ("Tailscale key", r"\btskey-[a-z]+-[A-Za-z0-9]+-[A-Za-z0-9]{16,}"),
    ("Teams webhook", r"\.webhook\.office\.com/webhookb2/[A-Za-z0-9@/-]{60,}"),
    ("Telegram token", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{32,}"),
    ("Twilio key", r"\b(?:SK|AC)[0-9a-f]{32}\b"),
    ("Vault token", r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}"),
    ("Vault token", r"\bs\.[A-Za-z0-9]{24}\b"),
    ("Vercel token", r"\bvc[pikar]_[A-Za-z0-9]{24,}\b"),
    ("webhook secret", r"\bwhsec_[A-Za-z0-9+/=]{20,}"),
    ("xAI key", r"\bxai-[A-Za-z0-9]{60,}"),
];

/// All of them in one automaton, to know which of them are worth looking for.
pub(crate) struct Shapes {
    which: Option<RegexSet>,
    each: Vec<(&'static str, Regex)>,
}

/// A shape that were not a pattern would be missing; a test counts them.
pub(crate) static WHOLE: LazyLock<Shapes> = LazyLock::new(|| Shapes {
    which: RegexSet::new(SHAPES.iter().map(|(_, shape)| ascii(shape))).ok(),
    each: SHAPES.iter().filter_map(|(what, shape)| Some((*what, Regex::new(&ascii(shape)).ok()?))).collect(),
});

/// Ends of words by ASCII, which an automaton can know without looking back.
pub(crate) fn ascii(shape: &str) -> String {
    shape.replace(r"\b", r"(?-u:\b)")
}

impl Shapes {
    /// Every place that has one of the shapes. One pass says which, one more for each that is there.
    pub(crate) fn find<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = (usize, usize, &'static str)> + 'a {
        let there = self.which.as_ref().map(|which| which.matches(text));
        self.each
            .iter()
            .enumerate()
            .filter(move |(at, _)| there.as_ref().is_none_or(|there| there.matched(*at)))
            .flat_map(move |(_, (what, shape))| {
                shape.find_iter(text).map(|found| (found.start(), found.end(), *what))
            })
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        if self.which.is_some() { self.each.len() } else { 0 }
    }
}
