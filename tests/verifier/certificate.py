#!/usr/bin/env python3
"""certificate.py TRUST NOW FILE... : verifies deployment certificates, from docs/certificate.md and docs/approvals.md alone."""
import base64
import re
import sys
import traceback

from common import Bad, Proof, canonical, digest, digest_text, read_canonical, read_json
from certificate_base import SKEW, Trust, differ, equal, exact, instant, open_envelope, short
from promotion import finite, gaps_of
from story import Story, target_of

FIELDS = ("deployment", "target", "mode", "ending", "cause", "missing", "initiator", "forced", "received", "ended", "issued", "spec", "plan",
          "baseline", "policy", "approvals", "artifacts", "steps", "gates", "findings", "experts", "interventions", "observed", "inputs",
          "journal", "audit", "certifier")
ENDINGS = ("PROMOTED", "UNPROVEN", "ROLLED_BACK", "REJECTED", "CANCELLED", "SUPERSEDED", "NEEDS_HUMAN")
STATEMENT = "https://in-toto.io/Statement/v1"
DIGEST = re.compile("sha256:[0-9a-f]{64}")


def is_text(value, where):
    if not isinstance(value, str):
        raise Bad(where, "is no text")
    return value


def is_digest(value, where, null=False):
    if value is None and null:
        return None
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise Bad(where, f"{short(value)} is no digest")
    return value


def is_count(value, where):
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise Bad(where, f"{short(value)} is no count")
    return value


PRINCIPAL = re.compile("(unauthenticated|signer|publisher|engine|event-source):.+", re.DOTALL)
STAGES = ("check", "execute", "verify", "finish", "rollback")
SEVERITIES = ("info", "low", "medium", "high", "critical")
VOTES = ("approve", "reject", "needs_change", "abstain")


def check_shape(p):
    """Nested fields of the statement have the types that they must have, and no unknown fields (the top is checked before)."""
    def text(value, where, null=False):
        if not (null and value is None):
            is_text(value, where)

    def who(value, where):
        if not PRINCIPAL.fullmatch(is_text(value, where)):
            raise Bad(where, f"{value!r} does not begin with a known kind")

    who(p["initiator"], "initiator")
    text(p["forced"], "forced", null=True)
    if p["cause"] is not None:
        for field in ("kind", "text"):
            text(p["cause"][field], f"cause.{field}")
        for field in ("step", "gate"):
            text(p["cause"][field], f"cause.{field}", null=True)
    for i, a in enumerate(p["approvals"]):
        who(a["by"], f"approvals[{i}].by")
        is_digest(a["plan"], f"approvals[{i}].plan")
    for i, a in enumerate(p["interventions"]):
        who(a["by"], f"interventions[{i}].by")
    for i, a in enumerate(p["artifacts"]):
        is_digest(a["digest"], f"artifacts[{i}].digest", null=True)
        text(a["version"], f"artifacts[{i}].version")
        text(a["name"], f"artifacts[{i}].name")
    for i, step in enumerate(p["steps"]):
        where = f"steps[{i}]"
        for field in ("id", "stage", "agent", "what", "reason"):
            text(step[field], f"{where}.{field}")
        for field in ("idempotencyKey", "runner", "outcome", "skippedBy"):
            text(step[field], f"{where}.{field}", null=True)
        if step["stage"] not in STAGES:
            raise Bad(f"{where}.stage", f"{step['stage']!r} is not known")
        is_count(step["attempts"], f"{where}.attempts")
        is_digest(step["evidence"], f"{where}.evidence", null=True)
        if step["fence"] is not None:
            exact(step["fence"], ("lock", "epoch"), f"{where}.fence")
            is_count(step["fence"]["lock"], f"{where}.fence.lock")
            is_count(step["fence"]["epoch"], f"{where}.fence.epoch")
        if step["skippedBy"] is not None:
            who(step["skippedBy"], f"{where}.skippedBy")
    for i, gate in enumerate(p["gates"]):
        where = f"gates[{i}]"
        text(gate["gate"], f"{where}.gate")
        text(gate["outcome"], f"{where}.outcome")
        text(gate["limit"], f"{where}.limit", null=True)
        text(gate["text"], f"{where}.text", null=True)
        if "evidence" in gate:
            is_digest(gate["evidence"], f"{where}.evidence")
        if gate["samples"] is not None:
            is_count(gate["samples"], f"{where}.samples")
        if gate["measured"] is not None and not finite(gate["measured"]):
            raise Bad(f"{where}.measured", "is no number")
    for i, f in enumerate(p["findings"]):
        where = f"findings[{i}]"
        for field in ("rule", "message"):
            text(f[field], f"{where}.{field}")
        for field in ("module", "waived"):
            text(f[field], f"{where}.{field}", null=True)
        if f["severity"] not in SEVERITIES:
            raise Bad(f"{where}.severity", f"{short(f['severity'])} is not known")
    text(p["experts"]["source"], "experts.source")
    text(p["experts"]["summary"], "experts.summary")
    opinion = p["experts"]["opinion"]
    if opinion is not None:
        is_digest(opinion["consultation"], "experts.opinion.consultation", null=True)
        is_count(opinion["counted"], "experts.opinion.counted")
        if not finite(opinion["effective"]):
            raise Bad("experts.opinion.effective", "is no number")
        if opinion["action"] not in ("approve", "reject", "needs_change", "escalate", "no_quorum"):
            raise Bad("experts.opinion.action", f"{short(opinion['action'])} is not known")
        for i, v in enumerate(opinion["votes"]):
            for field in ("expert", "family", "status"):
                text(v[field], f"experts.opinion.votes[{i}].{field}")
            if v["vote"] is not None and v["vote"] not in VOTES:
                raise Bad(f"experts.opinion.votes[{i}].vote", f"{short(v['vote'])} is not known")
    for i, each in enumerate(p["inputs"]):
        is_digest(each["digest"], f"inputs[{i}].digest")


# ---------------------------------------------------------------- the log

SOURCE = re.compile("LOG_deployment_[0-9]+(#[0-9]+)?")


def check_leaf(entry, where):
    """The fields of every leaf (docs/audit.md, "What is a leaf")."""
    for field in ("source", "actor", "action", "subject", "outcome"):
        is_text(entry.get(field), f"{where}.{field}")
    for field in ("v", "counter", "part", "parts", "at"):
        is_count(entry.get(field), f"{where}.{field}")
    if entry["v"] != 1:
        raise Bad(f"{where}.v", "is not 1")
    if entry["outcome"] not in ("done", "denied", "failed"):
        raise Bad(f"{where}.outcome", f"{short(entry['outcome'])} is not known")


def check_event(entry, where, story, what_of, record_event):
    """The leaf of an event of the journal ("What a verifier checks", rule 5)."""
    record, event, part = record_event
    if entry["subject"] != story.deployment:
        raise Bad(f"{where}.subject", "is another deployment")
    if entry.get("cause") != f"{story.deployment}:{record['version']}":
        raise Bad(f"{where}.cause", f"is not that of the journal's {what_of} event")
    if entry["action"] != f"deployment.{event['event']}":
        raise Bad(f"{where}.action", f"is not that of the journal's {what_of} event")
    if entry["part"] != part or entry["parts"] != len(record["events"]):
        raise Bad(f"{where}.part", f"is not that of the journal's {what_of} event")
    if not SOURCE.fullmatch(entry["source"]):
        raise Bad(f"{where}.source", "is no stream of these journals")
    if entry["at"] != record["at"]:
        raise Bad(f"{where}.at", f"is not that of the journal's {what_of} event")
    detail, payload = entry.get("detail"), entry.get("payload")
    if payload is None:
        if not equal(detail, event):
            raise Bad(f"{where}.detail", "is not the event of the journal")
        return
    if not isinstance(payload, dict):
        raise Bad(f"{where}.payload", "is no object")
    if not isinstance(payload.get("digest"), str) or payload["digest"].lower() != digest(event):
        raise Bad(f"{where}.payload.digest", "is not that of the event")
    if not equal(payload.get("size"), len(canonical(event).encode())):
        raise Bad(f"{where}.payload.size", "is not that of the event")
    if detail is not None and not isinstance(detail, dict):
        raise Bad(f"{where}.detail", "is no object")
    for key, value in (detail or {}).items():
        if key not in event or not equal(value, event[key]):
            raise Bad(f"{where}.detail.{key}", "is not as in the journal")


def read_entry(part, where):
    """Entry and proof, whose signatures are not verified yet."""
    exact(part, ("entry", "proof"), where)
    entry = read_canonical(is_text(part["entry"], f"{where}.entry"), f"{where}.entry")
    if not isinstance(entry, dict):
        raise Bad(f"{where}.entry", "is no fact")
    check_leaf(entry, f"{where}.entry")
    proof = Proof(is_text(part["proof"], f"{where}.proof"), f"{where}.proof")
    if proof.extra:
        raise Bad(f"{where}.proof", "has a line `extra`")
    proof.check(part["entry"])
    return entry, proof


def check_range(range_, audit, story, policy):
    """Where the log has the journal. Without a policy the proofs' signatures are not looked at."""
    for name, place in (("first", story.first), ("last", story.last)):
        where = f"journal.range.{name}"
        entry, proof = read_entry(range_[name], where)
        if policy is not None:
            policy.believe(proof.checkpoint, f"{where}.proof")
        check_event(entry, f"{where}.entry", story, name, place)
        if proof.index != audit[name]:
            raise Bad(f"{where}.proof", f"is of {proof.index} and not of {audit[name]}")
        if proof.checkpoint.origin != audit["origin"]:
            raise Bad(f"{where}.proof", "is of another log")
        if name == "last":
            if proof.checkpoint.size != audit["size"]:
                raise Bad("audit.size", "is not that of the proof")
            if base64.b64encode(proof.checkpoint.root).decode() != audit["root"]:
                raise Bad("audit.root", "is not that of the proof")
    if not 0 < audit["records"] <= audit["last"] - audit["first"] + 1:
        raise Bad("audit.records", "are more than stand between the first and the last")
    if audit["size"] <= audit["last"]:
        raise Bad("audit.size", "does not have the last")


def check_record(certificate, p, story, policy, statement_digest, summary_digest):
    """The log's record of the certificate. Gives when the log's own signature and the witnesses say it was there, in seconds."""
    if certificate["log"] is None:
        raise Bad("log", "there is no proof, and the trust file names a log")
    entry, proof = read_entry(certificate["log"], "log")
    own, seen = policy.believe(proof.checkpoint, "log.proof")
    audit, checkpoint = p["audit"], proof.checkpoint
    if audit is not None:
        if checkpoint.origin != audit["origin"]:
            raise Bad("log.proof", "is of another log")
        if proof.index <= audit["last"]:
            raise Bad("log.proof", "the certificate's record stands before the journal's")
        if checkpoint.size < audit["size"]:
            raise Bad("log.proof", "is older than that of the journal")
        if checkpoint.size == audit["size"] and base64.b64encode(checkpoint.root).decode() != audit["root"]:
            raise Bad("log.proof", "has another root at the same size")
    if entry["action"] != "certificate.issued":
        raise Bad("log.entry.action", "is not certificate.issued")
    if entry["subject"] != story.deployment:
        raise Bad("log.entry.subject", "is another deployment")
    if entry.get("cause") != f"{story.deployment}:{story.version}":
        raise Bad("log.entry.cause", "is another state of the journal")
    told = {"ending": p["ending"], "statement": statement_digest, "summary": summary_digest}
    if not equal(entry.get("detail"), told):
        raise Bad("log.entry.detail", f"is not {told}")
    return own, max(seen.values(), default=None)


def check_keys(keys, trust, issued, now, own, seen):
    """Rule 7. OWN and SEEN: when the log and the witnesses saw the certificate, in seconds."""
    for key in keys:
        where = f"key {key.id[:12]}"
        if issued < key.start:
            raise Bad(where, "was not valid yet when the certificate was issued")
        if key.end is not None and issued >= key.end:
            raise Bad(where, "was over when the certificate was issued")
        if key.end is not None and now >= key.end:
            shown = own if seen is None else seen
            if shown is None or shown * 1000 >= key.end:
                raise Bad(where, "is over, and nobody saw the certificate before")
        if key.revoked is not None and (seen is None or seen * 1000 >= key.revoked):
            raise Bad(where, "is revoked, and no witness saw the certificate before")


# ---------------------------------------------------------------- one certificate

def check_missing(said, texts):
    """What is said to be missing is what is; a None among the texts may be any."""
    if None not in texts:
        return differ(said, texts, "missing")
    rest = iter(said)
    for text in texts:
        if text is not None and text not in rest:
            raise Bad("missing", f"does not name {text!r} in its place")
    return None


def check_certificate(data, trust, now):
    certificate = read_json(data, "file")
    exact(certificate, ("mediaType", "bundle", "vsa", "documents", "journal", "log"), "certificate")
    if certificate["mediaType"] != "application/vnd.code.certificate.v1+json":
        raise Bad("mediaType", "is that of something else")
    bundle = exact(certificate["bundle"], ("mediaType", "dsseEnvelope", "verificationMaterial"), "bundle")
    if bundle["mediaType"] != "application/vnd.dev.sigstore.bundle.v0.3+json":
        raise Bad("bundle.mediaType", "is not that of a bundle of version 0.3")

    # 1. The envelopes.
    payload, keys = open_envelope(bundle["dsseEnvelope"], ["ecdsa-p256-sha256"], trust, "bundle.dsseEnvelope")
    hint = base64.b64encode(bytes.fromhex(keys[0].id)).decode()
    if not equal(bundle["verificationMaterial"], {"publicKey": {"hint": hint}, "tlogEntries": []}):
        raise Bad("bundle.verificationMaterial", "does not name the key that signed")
    statement = read_json(payload, "statement")
    summary_payload, more = open_envelope(certificate["vsa"], ["ecdsa-p256-sha256", "ml-dsa-65"], trust, "vsa")
    summary = read_json(summary_payload, "summary")
    keys += more

    # The statement's shape.
    exact(statement, ("_type", "subject", "predicateType", "predicate"), "statement")
    if statement["_type"] != STATEMENT:
        raise Bad("statement._type", "is no in-toto statement")
    if statement["predicateType"] != "https://code.example/attestation/deployment/v1":
        raise Bad("statement.predicateType", "is no deployment")
    p = exact(statement["predicate"], FIELDS, "statement")
    if p["ending"] not in ENDINGS:
        raise Bad("ending", f"{short(p['ending'])} is not known")
    if p["mode"] not in ("apply", "rollback"):
        raise Bad("mode", f"{short(p['mode'])} is not known")
    issued = instant(p["issued"], "issued")
    exact(p["certifier"], ("replica", "version"), "certifier")
    is_text(p["certifier"]["replica"], "certifier.replica")
    is_text(p["certifier"]["version"], "certifier.version")
    exact(p["journal"], ("version", "digest"), "journal")
    if p["observed"] is not None:
        exact(p["observed"], ("at", "expected", "differences"), "observed")
        is_digest(p["observed"]["expected"], "observed.expected", null=True)
        if not isinstance(p["observed"]["differences"], list):
            raise Bad("observed.differences", "is no list")
        for i, difference in enumerate(p["observed"]["differences"]):
            is_text(difference, f"observed.differences[{i}]")
    if p["audit"] is not None:
        exact(p["audit"], ("origin", "first", "last", "records", "size", "root"), "audit")
        is_text(p["audit"]["origin"], "audit.origin")
        is_text(p["audit"]["root"], "audit.root")
        for field in ("first", "last", "records", "size"):
            is_count(p["audit"][field], f"audit.{field}")
    if not isinstance(p["missing"], list) or not all(isinstance(m, str) for m in p["missing"]):
        raise Bad("missing", "is no list of texts")
    if bool(p["missing"]) != (p["ending"] == "UNPROVEN"):
        raise Bad("missing", "is filled exactly when the ending is UNPROVEN")

    # 2. The documents.
    documents = exact(certificate["documents"], ("spec", "plan"), "documents")
    spec = read_canonical(is_text(documents["spec"], "documents.spec"), "documents.spec")
    if digest_text(documents["spec"]) != p["spec"]:
        raise Bad("spec", "is not the digest of the enclosed spec")
    if (documents["plan"] is None) != (p["plan"] is None):
        raise Bad("plan", "is there without its document, or the other way round")
    if documents["plan"] is not None:
        read_canonical(is_text(documents["plan"], "documents.plan"), "documents.plan")
        if digest_text(documents["plan"]) != p["plan"]:
            raise Bad("plan", "is not the digest of the enclosed plan")
    journal = exact(certificate["journal"], ("records", "range"), "journal")
    records = read_canonical(is_text(journal["records"], "journal.records"), "journal.records")
    if digest_text(journal["records"]) != p["journal"]["digest"]:
        raise Bad("journal.digest", "is not that of the enclosed journal")
    if (journal["range"] is None) != (p["audit"] is None):
        raise Bad("journal.range", "is there without `audit`, or the other way round")
    if journal["range"] is not None:
        exact(journal["range"], ("first", "last"), "journal.range")
        for name in ("first", "last"):
            exact(journal["range"][name], ("entry", "proof"), f"journal.range.{name}")
    if certificate["log"] is not None:
        exact(certificate["log"], ("entry", "proof"), "log")

    # 3. The statement told again.
    story = Story(records)
    if not equal(p["journal"]["version"], story.version):
        raise Bad("journal.version", f"is not {story.version}")
    if digest(story.spec) != p["spec"]:
        raise Bad("spec", "is not that of the journal")
    if story.ending is None:
        raise Bad("ending", "the journal tells of none")
    if p["audit"] is not None and p["audit"]["records"] != story.version:
        raise Bad("audit.records", f"is not {story.version}")
    told = story.tell()
    if story.ending == "PROMOTED" and p["ending"] == "UNPROVEN":
        told["ending"] = "UNPROVEN"
    for field in told:
        differ(p[field], told[field], field)
    check_shape(p)

    subjects = [] if p["plan"] is None else [{"name": "plan", "digest": {"sha256": p["plan"][7:]}}]
    subjects.append({"name": "spec", "digest": {"sha256": p["spec"][7:]}})
    subjects += [{"name": f"{a['module']} {a['name']}", "digest": {"sha256": a["digest"][7:]}} for a in told["artifacts"] if a["digest"] is not None]
    differ(statement["subject"], subjects, "subject")

    # The summary.
    statement_digest, summary_digest = digest(bundle["dsseEnvelope"]), digest(certificate["vsa"])
    target = ".".join(target_of(spec)[k] for k in ("environment", "platform", "name"))
    passed = p["mode"] == "apply" and p["ending"] == "PROMOTED"
    differ(summary, {
        "_type": STATEMENT, "subject": subjects, "predicateType": "https://slsa.dev/verification_summary/v1",
        "predicate": {
            "verifier": {"id": "https://code.example/certifier", "version": {"code": p["certifier"]["version"]}},
            "timeVerified": p["issued"], "resourceUri": f"code:{target}",
            "policy": {"uri": f"code:policy/{target}", "digest": {"sha256": told["policy"]["digest"][7:]}},
            "inputAttestations": [{"uri": f"code:certificate/{p['deployment']}", "digest": {"sha256": statement_digest[7:]}}],
            "verificationResult": "PASSED" if passed else "FAILED", "verifiedLevels": ["CODE_DEPLOYMENT_L1" if passed else "FAILED"],
            "slsaVersion": "1.1"}}, "summary")

    # 4. What was seen, and when.
    promotion = p["ending"] in ("PROMOTED", "UNPROVEN")
    if p["observed"] is None:
        latest = story.ended
    elif not promotion and p["ending"] != "ROLLED_BACK":
        raise Bad("observed", "nothing is expected after this ending")
    else:
        latest = instant(p["observed"]["at"], "observed.at")
        expected = p["spec"] if promotion else (story.plan or {}).get("baseline")
        if p["observed"]["expected"] != expected:
            raise Bad("observed.expected", f"is not {expected}")
        if latest < story.ended:
            raise Bad("observed.at", "is before the end")
    if issued < latest:
        raise Bad("issued", "is before the look at what runs")

    # 5. to 7. The log, the time and the keys.
    own = seen = None
    if p["audit"] is not None:
        check_range(journal["range"], p["audit"], story, trust.log)
    if trust.log is not None:
        own, seen = check_record(certificate, p, story, trust.log, statement_digest, summary_digest)
        shown = own if seen is None else seen
        if shown is not None and issued > shown * 1000 + SKEW:
            raise Bad("issued", "is after the log's checkpoint")
    if issued > now + SKEW:
        raise Bad("issued", "is in the future")
    check_keys(keys, trust, issued, now, own, seen)

    # 8. What a promotion must show.
    if promotion:
        gaps = gaps_of(story, p)
        if p["ending"] == "PROMOTED" and gaps:
            raise Bad("ending", f"this is no proven promotion: {gaps[0][1]}")
        if p["ending"] == "UNPROVEN":
            if not gaps:
                raise Bad("ending", "nothing is missing")
            check_missing(p["missing"], [text for text, _ in gaps])


def one_line(text):
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: certificate.py TRUST NOW FILE...")
    trust = trouble = None
    now = int(sys.argv[2])
    try:
        with open(sys.argv[1], "rb") as file:
            trust = Trust(file.read())
    except Bad as bad:
        trouble = f"trust: {bad.field}: {bad.why}"
    except OSError as error:
        trouble = f"trust: {error}"
    for path in sys.argv[3:]:
        try:
            if trouble:
                print(f"{path} invalid: {trouble}")
                continue
            with open(path, "rb") as file:
                data = file.read()
            check_certificate(data, trust, now)
            print(f"{path} valid")
        except Bad as bad:
            print(one_line(f"{path} invalid: {bad.field}: {bad.why}"))
        except OSError as error:
            print(f"{path} invalid: file: {error}")
        except Exception as error:  # a bug of ours, or a shape that we did not foresee: said, and not hidden
            traceback.print_exc()
            print(one_line(f"{path} invalid: ?: stumbled over {type(error).__name__}: {error}"))


if __name__ == "__main__":
    main()
