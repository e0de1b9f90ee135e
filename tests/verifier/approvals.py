"""Which approvals count (docs/approvals.md, "What counts")."""
import re

from common import Bad, canonical, digest, digest_text, read_canonical
from certificate_base import SKEW, exact, free_places, instant, span
from sshsig import Signer, verify_sshsig

NAMESPACE = "code-approval@code.example"


def name_of(principal):
    return principal.split(":", 1)[1] if ":" in principal else principal


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def person(principal):
    """Somebody as shown to people (docs/certificate.md, "The texts of `missing`")."""
    kind, _, name = principal.partition(":")
    words = name.split("/", 1) if kind == "engine" else [name]
    shown_as = {"unauthenticated": "unauthenticated", "signer": "by signature", "publisher": "publisher",
                "event-source": "event source, unauthenticated", "engine": "engine"}.get(kind, kind)
    return " ".join(w if re.fullmatch(r"[A-Za-z0-9._@/+:\-~%?=&#]+", w) else quoted(w) for w in words) + f" ({shown_as})"


def requirement(terms):
    """The requirement in words."""
    rules = []
    for rule in terms["rules"]:
        clauses = []
        for clause in rule["all"]:
            who = ", ".join(clause["of"])
            text = f"{clause['count']} of {who}"
            if clause.get("when"):
                text += f" when {clause['when']}"
            clauses.append(text)
        rules.append(" and ".join(clauses))
    return "; ".join(rules)


class Terms:
    def __init__(self, value, where):
        exact(value, ("rules", "signers", "lasts"), where, ("verified",))
        self.value = value
        self.digest = digest(value)
        self.words = requirement(value)
        self.lasts = span(value["lasts"], f"{where}.lasts") if isinstance(value["lasts"], str) else value["lasts"]
        self.verified = value.get("verified", False)
        lines = value["signers"].split("\n") if isinstance(value["signers"], str) else value["signers"]
        try:
            self.unusable = None
            self.signers = [Signer(line, f"{where}.signers[{i}]") for i, line in enumerate(lines)
                            if line.strip() and not line.lstrip().startswith("#")]
        except Bad as bad:  # then no signature counts
            self.unusable = bad

    def rules(self, secrets_touched):
        """Per rule: its clauses that are asked for."""
        for rule in self.value["rules"]:
            for clause in rule["all"]:
                if clause.get("when") not in (None, "secrets_touched"):
                    raise Bad("approvals", f"the condition {clause['when']!r} is not known")
            yield [clause for clause in rule["all"] if clause.get("when") is None or secrets_touched]


def judge(signed, event, at, terms, facts, nonces, where):
    """Raises Bad unless the signed event counts for the approver. Gives (approver, expires, nonce); `by` is not looked at.

    facts: deployment, target (a.b.c), environment, plan (digest), initiator, shown (digest), secrets_touched."""
    exact(signed, ("statement", "signature"), where)
    text = signed["statement"]
    if not isinstance(text, str):
        raise Bad(f"{where}.statement", "is no text")
    raw = text.encode()
    if len(raw) > 8192:
        raise Bad(f"{where}.statement", "has more than 8192 bytes")
    statement = read_canonical(raw, f"{where}.statement")
    exact(statement, ("_type", "subject", "predicateType", "predicate"), f"{where}.statement")
    p = exact(statement["predicate"], ("decision", "deployment", "target", "environment", "approver", "policy", "requirement",
                                       "nonce", "issued", "expires", "reason", "shown"), f"{where}.predicate")
    for field, value in p.items():
        if not isinstance(value, str):
            raise Bad(f"{where}.predicate.{field}", "is no text")

    def want(field, said, told):
        if said != told or type(said) is not type(told):
            raise Bad(f"{where}.{field}", f"says {said!r} and not {told!r}")

    want("_type", statement["_type"], "https://in-toto.io/Statement/v1")
    want("predicateType", statement["predicateType"], "https://code.example/attestation/approval/v1")
    want("subject", statement["subject"], [{"name": f"plan/{facts['deployment']}", "digest": {"sha256": (facts["plan"] or "").removeprefix("sha256:")}}])
    want("deployment", p["deployment"], facts["deployment"])
    want("target", p["target"], facts["target"])
    want("environment", p["environment"], facts["environment"])
    want("shown", p["shown"], facts["shown"])
    want("policy", p["policy"], terms.digest)
    want("requirement", p["requirement"], terms.words)
    want("decision", p["decision"], {"approved": "approve", "denied": "deny"}[event["event"]])
    if p["approver"] == name_of(facts["initiator"]):
        raise Bad(f"{where}.approver", "is who asked for the deployment")
    if not any(p["approver"] in clause["of"] for clauses in terms.rules(facts["secrets_touched"]) for clause in clauses):
        raise Bad(f"{where}.approver", "is in no clause that is asked for")
    issued, expires = instant(p["issued"], f"{where}.issued"), instant(p["expires"], f"{where}.expires")
    if expires <= issued or expires - issued > terms.lasts:
        raise Bad(f"{where}.expires", "counts for longer than the terms allow")
    if at < issued - SKEW:
        raise Bad(f"{where}.issued", "is after the record")
    if at > expires:
        raise Bad(f"{where}.expires", "is before the record")
    if not re.fullmatch("[0-9a-f]{32}", p["nonce"]):
        raise Bad(f"{where}.nonce", "is none")
    if p["nonce"] in nonces:
        raise Bad(f"{where}.nonce", "is used")
    if len(p["reason"]) > 1000 or any(ord(c) < 0x20 or 0x7f <= ord(c) < 0xa0 for c in p["reason"]):
        raise Bad(f"{where}.reason", "is too long or has a control character")
    signature = signed["signature"]
    exact(signature, ("sshsig",), f"{where}.signature")
    if terms.unusable is not None:
        raise terms.unusable
    blob = verify_sshsig(signature["sshsig"], raw, NAMESPACE, terms.verified, f"{where}.signature")
    lines = [s for s in terms.signers if s.key.blob == blob and s.name == p["approver"]]
    if not lines:
        raise Bad(f"{where}.signature", f"its key is none of {p['approver']}")
    if not any(s.in_force(NAMESPACE, at) for s in lines):
        raise Bad(f"{where}.signature", "its key is not in force")
    return p["approver"], expires, p["nonce"]


def lacking(terms, secrets_touched, people):
    """Texts of what is missing, one for each clause with free places. People: the names of those who approved."""
    out = []
    for clauses in terms.rules(secrets_touched):
        places = [clause for clause in clauses for _ in range(clause["count"])]
        free = [places[i] for i in free_places([set(clause["of"]) for clause in places], people)]
        for clause in clauses:
            count = sum(each is clause for each in free)
            if count:
                others = ", ".join(name for name in clause["of"] if name not in people)
                out.append(f"signed approvals are missing: {count} more of {others or 'people who did not yet, and there is none'}")
    return out


def shown(deployment, target, initiator, spec, plan_digest, steps):
    """The text that is shown before it is signed."""
    lines = [f"deployment {deployment}", f"target {target}", f"asked for by {initiator}",
             "release " + ", ".join(f"{m['name']} {m.get('version', '0.0.0')}" for m in spec["modules"]),
             f"plan {plan_digest}"] + [f"step {id}: {what}" for id, what in steps]
    return "".join(line + "\n" for line in lines)
