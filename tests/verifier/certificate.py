#!/usr/bin/env python3
"""certificate.py TRUST NOW FILE... : verifies deployment certificates, from docs/certificate.md and docs/approvals.md alone."""
import base64
import math
import re
import sys
import traceback

from common import Bad, Proof, canonical, digest, digest_text, read_canonical, read_json
from certificate_base import SKEW, Trust, condition, differ, equal, exact, instant, open_envelope, plain, rfc3339, short, span
from approvals import name_of
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
    ids = set()
    for i, step in enumerate(p["steps"]):
        where = f"steps[{i}]"
        for field in ("id", "stage", "agent", "what", "reason"):
            text(step[field], f"{where}.{field}")
        for field in ("idempotencyKey", "runner", "outcome", "skippedBy"):
            text(step[field], f"{where}.{field}", null=True)
        if step["stage"] not in STAGES:
            raise Bad(f"{where}.stage", f"{step['stage']!r} is not known")
        if step["id"] in ids:
            raise Bad(f"{where}.id", "stands there twice")
        ids.add(step["id"])
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
        if opinion["action"] not in ("approve", "reject", "needs_change", "escalate"):
            raise Bad("experts.opinion.action", f"{short(opinion['action'])} is not known")
        for i, v in enumerate(opinion["votes"]):
            for field in ("expert", "family", "status"):
                text(v[field], f"experts.opinion.votes[{i}].{field}")
            if v["vote"] is not None and v["vote"] not in VOTES:
                raise Bad(f"experts.opinion.votes[{i}].vote", f"{short(v['vote'])} is not known")
    for i, each in enumerate(p["inputs"]):
        is_digest(each["digest"], f"inputs[{i}].digest")


# ---------------------------------------------------------------- what a promotion must show

class Gaps(list):
    """What a promotion lacks: (text or None when the documentation does not say how it reads, ours)."""

    def add(self, ours, text=None):
        self.append((text, ours))


def limit_of(metric):
    parts = []
    success, failure = metric.get("success"), metric.get("failure")
    if success is not None and failure is not None:
        parts.append(f"{success}, fails at {failure}")
    elif success is not None:
        parts.append(success)
    elif failure is not None:
        parts.append(f"fails at {failure}")
    baseline = metric.get("baseline")
    if baseline is not None:
        sign = {"increase": "+", "decrease": "-", "either": "\u00b1"}[baseline.get("bad", "increase")]
        parts.append(f"baseline {sign}{plain(float(baseline.get('tolerance', 0.25)) * 100)} %")
    return " and ".join(parts)


def finite(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def traffic_gaps(step, gates, gaps):
    name = step["id"]
    if len(gates) != 1 or gates[0]["gate"] != "traffic-share":
        return gaps.add(f"step {name} does not have exactly the gate traffic-share",
                        f"step {name} has no gate traffic-share: nothing was measured" if not gates else None)
    gate = gates[0]
    if gate["outcome"] != "succeeded":
        gaps.add(f"step {name}: the gate traffic-share is not good")
    if not finite(gate["measured"]):
        return gaps.add(f"step {name}: nothing measured")
    if type(gate["samples"]) is not int or gate["samples"] < 1:
        return gaps.add(f"step {name}: too few samples")
    for share in set((step.get("weights") or {}).values()):
        if type(share) is not int or not 0 <= share <= 100:
            return gaps.add(f"step {name}: {share} is no share")
        p = share / 100
        tolerance = max(5.0, 300 * math.sqrt(p * (1 - p) / gate["samples"]))
        if gate["limit"] == f"{share} \u00b1 {tolerance:.1f} %":
            if not share - tolerance <= gate["measured"] <= share + tolerance:
                gaps.add(f"step {name}: {gate['measured']} is beyond {gate['limit']}")
            return None
    gaps.add(f"step {name}: the limit {gate['limit']} is none of the step")


def smoke_gaps(step, module, gates, gaps):
    name, tests = step["id"], (module or {}).get("smoke") or []
    if [g["gate"] for g in gates] != [f"smoke {t['path']}" for t in tests]:
        here = {g["gate"] for g in gates}
        lost = [t["path"] for t in tests if f"smoke {t['path']}" not in here]
        for path in lost:
            gaps.add(f"step {name} lacks smoke {path}", f"step {name} has no gate smoke {path}: nothing was measured")
        if not lost:
            gaps.add(f"step {name} does not have exactly the gates of its smoke tests")
        return
    for gate, test in zip(gates, tests):
        if gate["outcome"] != "succeeded" or gate["limit"] != "== 0" or not finite(gate["measured"]) or gate["measured"] != 0:
            gaps.add(f"step {name}: {gate['gate']} is not good")
        elif type(gate["samples"]) is not int or gate["samples"] < test.get("times", 1):
            gaps.add(f"step {name}: {gate['gate']} has too few samples")


def analysis_gaps(step, gates, gaps):
    name = step["id"]
    metrics = [m for m in step["analysis"]["metrics"] if not m.get("dryRun", False)]
    names = [g["gate"] for g in gates]
    for gate in gates:
        if gate["gate"] not in [m["name"] for m in metrics]:
            gaps.add(f"step {name} has a gate {gate['gate']} that nobody asked for")
    for metric in metrics:
        mine = [g for g in gates if g["gate"] == metric["name"]]
        if not mine:
            gaps.add(f"step {name} lacks {metric['name']}", f"step {name} has no gate {metric['name']}: nothing was measured")
            continue
        if len(mine) != 1:
            gaps.add(f"step {name} has the gate {metric['name']} more than once")
            continue
        gate, (provider,) = mine[0], metric["provider"].keys() if isinstance(metric["provider"], dict) else (metric["provider"],)
        if gate["outcome"] != "succeeded":
            gaps.add(f"step {name}: {gate['gate']} is {gate['outcome']}")
        if gate["limit"] != limit_of(metric):
            gaps.add(f"step {name}: {gate['gate']} has the limit {gate['limit']!r} and not {limit_of(metric)!r}")
        if gate["measured"] is None and metric.get("noData", "inconclusive") == "pass":
            continue
        if not finite(gate["measured"]):
            gaps.add(f"step {name}: {gate['gate']} has no value")
            continue
        counted = provider in ("errorRate", "latency", "requestRate")
        if type(gate["samples"]) is not int or gate["samples"] < (metric.get("minimumSamples", 20) if counted else 1):
            gaps.add(f"step {name}: {gate['gate']} has too few samples")
        if provider == "errorRate" and not 0 <= gate["measured"] <= 1:
            gaps.add(f"step {name}: {gate['measured']} is no error rate")
        tolerated = metric.get("failureLimit", 0) > 0 or metric.get("inconclusiveLimit", 0) > 0
        if not tolerated:
            where = f"step {name}"
            if metric.get("success") is not None and not condition(metric["success"], where)(gate["measured"]):
                gaps.add(f"step {name}: {gate['measured']} is not {metric['success']}")
            if metric.get("failure") is not None and condition(metric["failure"], where)(gate["measured"]):
                gaps.add(f"step {name}: {gate['measured']} is {metric['failure']}")


def analyses_of(spec, module):
    out = [module.get("analysis")]
    strategy = module.get("strategy") or spec.get("strategy") or {}
    if isinstance(strategy, dict):
        out += [s["analysis"] for s in (strategy.get("canary") or {}).get("steps", []) if "analysis" in s]
        green = strategy.get("blueGreen") or {}
        out += [green.get("prePromotion"), green.get("postPromotion")]
    return [a for a in out if a is not None]


def gaps_of(story, p):
    """What the promotion lacks. STORY is what the journal tells, P the predicate."""
    gaps, spec, plan = Gaps(), story.spec, story.plan
    if plan is None:
        gaps.add("there is no plan")
        return gaps
    if plan.get("spec") != story.spec_digest or not equal(plan.get("target"), target_of(spec)):
        gaps.add("the plan is not that of the spec")
    if plan.get("baseline") != story.baseline_digest:
        gaps.add("the plan has another baseline")
    modules = {m["name"]: m for m in spec["modules"]}
    skippers = {i["by"] for i in story.interventions if i["what"] == "promoted_in_full"}
    for step, last, told in story.steps():
        name, result = step["id"], told.get("result") or {}
        gates = [{"measured": None, "limit": None, "samples": None, **g} for g in result.get("gates") or []]
        if step["stage"] in ("check", "execute", "verify") and result.get("outcome") != "succeeded":
            gaps.add(f"step {name} did not succeed")
        skipped = result.get("skippedBy", result.get("skipped_by"))
        if skipped is not None:
            if step["do"] != "analyse":
                gaps.add(f"step {name} is no analysis and was skipped")
            elif skipped not in skippers or not skipped.startswith(("unauthenticated:", "signer:")):
                gaps.add(f"step {name} was skipped by {skipped}, who did not promote in full")
            elif any(g["outcome"] == "failed" for g in gates):
                gaps.add(f"a gate of step {name} failed")
        elif step["do"] == "set-weight" and step.get("verify"):
            traffic_gaps(step, gates, gaps)
        elif step["do"] == "smoke":
            smoke_gaps(step, modules.get(step.get("module")), gates, gaps)
        elif step["do"] == "analyse":
            if not any(equal(step["analysis"], a) for a in analyses_of(spec, modules.get(step.get("module"), {}))):
                gaps.add(f"step {name} has an analysis that the spec does not ask for")
            analysis_gaps(step, gates, gaps)
        elif any(g["outcome"] == "failed" for g in gates):
            gaps.add(f"a gate of step {name} failed")

    # Who approved.
    if story.mode == "rollback":
        for step in plan["steps"]:
            if step["do"] in ("review", "pause", "analyse", "guard", "smoke"):
                gaps.add(f"the plan of a way back has the step {step['id']}")
        if p["approvals"] or p["experts"]["opinion"] is not None:
            gaps.add("a way back has approvals or an opinion")
    else:
        wanted = (spec.get("gates") or {}).get("approvals") or {}
        allowed = wanted.get("from") or []
        human = span((spec.get("deadlines") or {}).get("human", "1day"), "deadlines.human")
        people = set()
        for a in story.approvals:
            kind, _, name = a["by"].partition(":")
            may = not allowed or name in allowed or a["by"] in allowed
            if kind == "unauthenticated" and (not may or name == name_of(story.initiator)):
                gaps.add(f"{a['by']} may not approve")
            if (kind in ("unauthenticated", "signer") and may and name != name_of(story.initiator) and a["plan"] == story.plan_digest
                    and story.received <= a["at"] <= story.ended and a["until"] is not None
                    and a["at"] <= a["until"] <= a["at"] + human):
                people.add(name)
        if len(people) < wanted.get("required", 0):
            gaps.add(f"{len(people)} approved and {wanted['required']} had to")
        if story.terms and not story.went_on:
            gaps.add("signatures were waited for, and the deployment never went on")
        for text in story.approval_gaps:
            gaps.add(text)
        if p["policy"]["experts"] == "require":
            opinion_gaps(p["experts"]["opinion"], gaps)

    # What the agents found.
    began = {step["id"]: (step["agent"], told.get("scheduled")) for step, _, told in story.steps()}
    for f in p["findings"]:
        if f["waived"] is None:
            if f["severity"] in ("high", "critical"):
                gaps.add(f"nobody accepted {f['rule']}")
            continue
        agent, at = began[f["step"]]
        if agent != "security" or at is None:
            gaps.add(f"{f['rule']} was not found by the security agent and is called accepted")
            continue
        if not any(w["rule"] == f["rule"] and w.get("module") in (None, f["module"]) and rfc3339(at)[:10] <= w["expires"]
                   and f["waived"] == f"{w['reason']} (until {w['expires']})"
                   and (f["severity"] != "critical" or f["rule"].rsplit("/", 1)[-1] in w["reason"])
                   for w in spec.get("waivers") or []):
            gaps.add(f"{f['rule']} is called accepted, and no waiver does so")

    # When it was.
    begin, end = story.received - SKEW, instant(p["issued"], "issued") + SKEW
    times = [story.ended] + [a["at"] for a in story.approvals] + [i["at"] for i in story.interventions]
    for step, _, told in story.steps():
        for each in story.attempts.get(step["id"], {}).values():
            times += [each[k] for k in ("scheduled", "finished") if k in each]
            times += [g["at"] for g in (each.get("result") or {}).get("gates") or []]
    if any(not begin <= t <= end for t in times):
        gaps.add("something was done before the request or after the certificate")

    if p["observed"] is None:
        gaps.add("nobody looked at what runs")
    elif p["observed"]["differences"]:
        gaps.add("what runs differs from the spec")
    return gaps


def opinion_gaps(opinion, gaps):
    if opinion is None:
        return gaps.add("the experts gave no opinion")
    votes = opinion["votes"]
    ok = [v for v in votes if v["status"] == "ok" and v["vote"] is not None and v["vote"] != "abstain"]
    if opinion["action"] != "approve":
        gaps.add("the experts do not approve")
    if opinion["counted"] != len(ok):
        gaps.add("the opinion counts other votes than stand there")
    if not finite(opinion["effective"]) or not 0 <= opinion["effective"] <= len(ok):
        gaps.add("the opinion is worth more than its votes")
    if len({v["expert"] for v in votes}) != len(votes):
        gaps.add("an expert votes twice")
    if any(v["vote"] is not None and v["status"] not in ("ok", "abstained") for v in votes):
        gaps.add("an expert without an answer has a vote")
    if any(v["status"] == "ok" and v["vote"] is None for v in votes):
        gaps.add("an answer without a vote")
    if not any(v["vote"] == "approve" for v in ok):
        gaps.add("no vote is for it")


# ---------------------------------------------------------------- the log

def check_event(entry, where, story, what_of, record_event):
    record, event, part = record_event
    if entry.get("subject") != story.deployment:
        raise Bad(f"{where}.subject", "is another deployment")
    if entry.get("cause") != f"{story.deployment}:{record['version']}":
        raise Bad(f"{where}.cause", f"is not that of the journal's {what_of} event")
    if entry.get("action") != f"deployment.{event['event']}":
        raise Bad(f"{where}.action", f"is not that of the journal's {what_of} event")
    if type(entry.get("part")) is not int or entry["part"] != part:
        raise Bad(f"{where}.part", f"is not that of the journal's {what_of} event")
    detail = entry.get("detail")
    if entry.get("payload") is None:
        if not equal(detail, event):
            raise Bad(f"{where}.detail", "is not the event of the journal")
    elif isinstance(detail, dict):
        for key, value in detail.items():
            if key in event and not isinstance(event[key], (dict, list)) and len(canonical(event[key])) <= 64 and not equal(value, event[key]):
                raise Bad(f"{where}.detail.{key}", "is not as in the journal")


def read_entry(part, where, policy):
    exact(part, ("entry", "proof"), where)
    entry = read_canonical(is_text(part["entry"], f"{where}.entry"), f"{where}.entry")
    if not isinstance(entry, dict):
        raise Bad(f"{where}.entry", "is no fact")
    proof = Proof(is_text(part["proof"], f"{where}.proof"), f"{where}.proof")
    proof.check(part["entry"])
    own, seen = policy.believe(proof.checkpoint, f"{where}.proof")
    return entry, proof, own, seen


def check_log(certificate, p, story, policy, statement_digest, summary_digest):
    """Gives the function `shown_before(ms) by witnesses`, and the earliest time the log or witnesses say, in seconds."""
    if certificate["log"] is None:
        raise Bad("log", "there is no proof, and the trust file names a log")
    audit, span_ = p["audit"], certificate["journal"]["range"]
    if audit is None:
        raise Bad("audit", "the statement names no place of the journal in the log")
    for name, place in (("first", story.first), ("last", story.last)):
        where = f"journal.range.{name}"
        entry, proof, _, _ = read_entry(span_[name], where, policy)
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
    if audit["first"] > audit["last"]:
        raise Bad("audit.first", "is after the last")
    entry, proof, own, seen = read_entry(certificate["log"], "log", policy)
    if proof.checkpoint.origin != audit["origin"]:
        raise Bad("log.proof", "is of another log")
    if proof.index <= audit["last"]:
        raise Bad("log.proof", "the certificate's record stands before the journal's")
    if entry.get("action") != "certificate.issued":
        raise Bad("log.entry.action", "is not certificate.issued")
    if entry.get("subject") != story.deployment:
        raise Bad("log.entry.subject", "is another deployment")
    if entry.get("cause") != f"{story.deployment}:{story.version}":
        raise Bad("log.entry.cause", "is another state of the journal")
    told = {"ending": p["ending"], "statement": statement_digest, "summary": summary_digest}
    if not equal(entry.get("detail"), told):
        raise Bad("log.entry.detail", f"is not {told}")
    return own, seen


def check_keys(keys, trust, issued, now, own, seen):
    for key in keys:
        where = f"key {key.id[:12]}"
        if issued < key.start:
            raise Bad(where, "was not valid yet when the certificate was issued")
        ends = []
        if key.revoked is not None:
            ends.append((key.revoked, True))
        if key.end is not None and now >= key.end:
            ends.append((key.end, False))
        for end, revoked in ends:
            how = "is revoked" if revoked else "is over"
            if trust.log is None:
                raise Bad(where, f"{how}, and no log says that the certificate was there before")
            early = {name for name, time in seen.items() if time * 1000 < end}
            if trust.log.quorum != "none":
                good = trust.log.met(early)
            else:
                good = bool(early) or (not revoked and not seen and own is not None and own * 1000 < end)
            if not good:
                raise Bad(where, f"{how}, and nobody saw the certificate before")


# ---------------------------------------------------------------- one certificate

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
    own, seen = None, {}
    if trust.log is not None:
        own, seen = check_log(certificate, p, story, trust.log, statement_digest, summary_digest)
        times = ([own] if own is not None else []) + list(seen.values())
        if times and issued > min(times) * 1000 + SKEW:
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
            texts = [text for text, _ in gaps]
            if None not in texts:
                differ(p["missing"], texts, "missing")
            elif not all(text in p["missing"] for text in texts if text is not None):
                raise Bad("missing", f"does not name {texts}")


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
