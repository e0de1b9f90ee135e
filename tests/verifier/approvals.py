"""Which approvals count (docs/approvals.md, "What counts")."""
import re

from common import Bad, canonical, digest, digest_text, read_canonical
from certificate_base import SKEW, exact, instant, places_filled, span
from sshsig import Signer, verify_sshsig

NAMESPACE = "code-approval@code.example"


def name_of(principal):
    return principal.split(":", 1)[1] if ":" in principal else principal


def requirement(terms):
    """The requirement in words."""
    rules = []
    for rule in terms["rules"]:
        clauses = []
        for clause in rule["all"]:
            who = ", ".join(clause.get("of") or []) or "anyone"
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
        self.signers = [Signer(line, f"{where}.signers[{i}]") for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]

    def places(self, secrets_touched):
        """Per rule: the places of its clauses that are asked for."""
        out = []
        for rule in self.value["rules"]:
            places = []
            for clause in rule["all"]:
                when = clause.get("when")
                if when not in (None, "secrets_touched"):
                    raise Bad("approvals", f"the condition {when!r} is not known")
                if when == "secrets_touched" and not secrets_touched:
                    continue
                places += [set(clause["of"]) if clause.get("of") else None] * clause["count"]
            out.append(places)
        return out


def judge(signed, event, at, terms, facts, nonces, where):
    """Raises Bad unless the signed event counts. Gives (name, expires).

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
    want("plan", event.get("plan"), facts["plan"])
    want("by", event.get("by"), f"signer:{p['approver']}")
    if p["approver"] == name_of(facts["initiator"]):
        raise Bad(f"{where}.approver", "is who asked for the deployment")
    allowed = [place for rule in terms.places(facts["secrets_touched"]) for place in rule]
    if not any(place is None or p["approver"] in place for place in allowed):
        raise Bad(f"{where}.approver", "is in no clause that is asked for")
    issued, expires = instant(p["issued"], f"{where}.issued"), instant(p["expires"], f"{where}.expires")
    if expires < issued or expires - issued > terms.lasts:
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
    if event["event"] == "denied" and event.get("reason") != p["reason"]:
        raise Bad(f"{where}.reason", "is not the one of the event")
    signature = signed["signature"]
    exact(signature, ("sshsig",), f"{where}.signature")
    blob = verify_sshsig(signature["sshsig"], raw, NAMESPACE, terms.verified, f"{where}.signature")
    lines = [s for s in terms.signers if s.key.blob == blob and s.name == p["approver"]]
    if not lines:
        raise Bad(f"{where}.signature", f"its key is none of {p['approver']}")
    if not any(s.in_force(NAMESPACE, at) for s in lines):
        raise Bad(f"{where}.signature", "its key is not in force")
    nonces.add(p["nonce"])
    return p["approver"], expires


def missing(terms, secrets_touched, approved, at):
    """Whether a rule is not met at AT. approved: [(name, expires)]."""
    people = {name for name, expires in approved if expires >= at}
    return any(not places_filled(places, people) for places in terms.places(secrets_touched))


def shown(deployment, target, initiator, spec, plan_digest, steps):
    """The text that is shown before it is signed."""
    lines = [f"deployment {deployment}", f"target {target}", f"asked for by {initiator}",
             "release " + ", ".join(f"{m['name']} {m.get('version', '0.0.0')}" for m in spec["modules"]),
             f"plan {plan_digest}"] + [f"step {id}: {what}" for id, what in steps]
    return "".join(line + "\n" for line in lines)
