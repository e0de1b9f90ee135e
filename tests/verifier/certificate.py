#!/usr/bin/env python3
"""A second verifier of certificates, written from docs/certificate.md and docs/audit.md: it shares no code with the product.

certificate.py TRUST NOW FILE...   prints `FILE valid` or `FILE invalid: FIELD: why` for each; NOW is in milliseconds since 1970

Needs the Python package `cryptography` for the signatures. Everything else is the standard library.
"""
import base64, binascii, hashlib, json, re, sys
from datetime import datetime, timezone
from pathlib import Path

import notes
from notes import Refused, public_key, refuse, verify_signature

SKEW = 300_000
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://code.example/attestation/deployment/v1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
ALGORITHMS = {"ecdsa-p256-sha256", "ml-dsa-65"}
BEFORE = ("check", "execute", "verify")
ENDINGS = {"promoted": "PROMOTED", "rolled_back": "ROLLED_BACK", "rejected": "REJECTED", "cancelled": "CANCELLED",
           "superseded": "SUPERSEDED", "needs_human": "NEEDS_HUMAN"}
INPUTS = {"architect": "resource-plan", "integrator": "contract-review", "toolsmith": "tool-check", "security": "security-review",
          "tester": "test-result", "deployer": "deployment-log", "performance": "measurements", "validator": "end-state",
          "guardian": "alert-rules", "certifier": "deployment-record"}


def sha256(data): return "sha256:" + hashlib.sha256(data).hexdigest()
def canonical(value): return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
def digest(value): return sha256(canonical(value))
def is_digest(text): return isinstance(text, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", text) is not None


def pairs(found):
    """An object whose keys are there once."""
    keys = [key for key, _ in found]
    if len(set(keys)) != len(keys): raise ValueError("a key stands there twice")
    return dict(found)


def constant(text): raise ValueError(f"{text} is no JSON")


def read(text, field):
    try: return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error: refuse(field, f"cannot be read: {error}")


def strict(text, field):
    """A text without blanks, whose keys are sorted."""
    def grown(found):
        keys = [key.encode() for key, _ in found]
        if any(one >= two for one, two in zip(keys, keys[1:])): raise ValueError("the keys do not grow")
        return dict(found)
    within = escaped = False
    for char in text:
        if not within and char in " \t\r\n": refuse(field, "has blanks")
        if char == '"' and not escaped: within = not within
        escaped = within and char == "\\" and not escaped
    try: return json.loads(text, object_pairs_hook=grown, parse_constant=constant)
    except (ValueError, RecursionError) as error: refuse(field, f"cannot be read: {error}")


def fields(value, names, field):
    if not isinstance(value, dict): refuse(field, "is no object")
    for name in names:
        if name not in value: refuse(field, f"lacks {name}")
    for name in value:
        if name not in names: refuse(field, f"has the unknown {name}")
    return value


def base64_of(text, field):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError): refuse(field, "is no standard base64")
    if base64.b64encode(data).decode() != text: refuse(field, "is no standard base64")
    return data


def instant(millis):
    text = datetime.fromtimestamp(millis // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{millis % 1000:03}Z"


def millis(text, field):
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text):
        refuse(field, "is no instant")
    try: at = datetime.strptime(text[:-5], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError: refuse(field, "is no instant")
    return int(at.timestamp()) * 1000 + int(text[-4:-1])


def span(text):
    units = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "day": 86_400_000, "days": 86_400_000}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([a-z]+)", text))


def number(value):
    """At most four digits behind the point."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


# --- whom to trust

class Trust:
    def __init__(self, text):
        file = fields(read(text, "trust"), ["keys", "log"], "trust")
        self.keys = {}
        for key in file["keys"]:
            fields(key, ["id", "algorithm", "publicKey", "validFrom", "validUntil", "revoked"], "trust.keys")
            if key["id"] in self.keys: refuse("trust.keys", f"{key['id']} is listed twice")
            key["key"], fingerprint = public_key(key["algorithm"], key["publicKey"])
            if fingerprint != key["id"]: refuse("trust.keys", f"{key['id']} is not the digest of its key")
            self.keys[key["id"]] = key
        self.policy = notes.Policy(file["log"]) if file["log"] is not None else None


def signed(envelope, place, kinds, trust):
    fields(envelope, ["payload", "payloadType", "signatures"], place)
    if envelope["payloadType"] != "application/vnd.in-toto+json": refuse(f"{place}.payloadType", "is another")
    if len(envelope["signatures"]) != len(kinds): refuse(f"{place}.signatures", "are not as many as there must be")
    payload = base64_of(envelope["payload"], f"{place}.payload")
    kind = envelope["payloadType"].encode()
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    keys = []
    for at, (signature, algorithm) in enumerate(zip(envelope["signatures"], kinds)):
        field = f"{place}.signatures[{at}]"
        fields(signature, ["keyid", "sig"], field)
        key = trust.keys.get(signature["keyid"])
        if key is None or key["algorithm"] != algorithm: refuse(f"{field}.keyid", "is no trusted key of this kind")
        if not verify_signature(algorithm, key["key"], base64_of(signature["sig"], f"{field}.sig"), message):
            refuse(f"{field}.sig", "does not fit")
        keys.append(key)
    return payload, keys


# --- what follows from the spec and the plan

def policy_of(spec, gate):
    modules = [{"module": module["name"], "analysis": module.get("analysis"), "smoke": module.get("smoke", []),
                "strategy": module.get("strategy") or spec["strategy"]} for module in spec["modules"]]
    rules = {"gates": spec["gates"], "waivers": spec.get("waivers", []), "modules": modules}
    approvals = spec["gates"].get("approvals") or {}
    strict_first = ["off", "advise", "require"]
    return {"digest": digest(rules), "approvals": approvals.get("required", 0), "approvers": approvals.get("from", []),
            "experts": max(gate, spec["gates"]["experts"], key=strict_first.index)}


def revision_of(module):
    made_of = [[module["run"], module["resources"], module.get("ports", []), module.get("health")],
               [module.get("environment", {}), module.get("config", []), module.get("secrets", []), module.get("volumes", []),
                module.get("openapi")]]
    return digest(made_of)[7:19]


def artifacts_of(spec):
    found = []
    for module in spec["modules"]:
        run = module["run"]
        image = run.get("image")
        pinned = image.rpartition("@")[2] if image and "@" in image else None
        found.append({
            "module": module["name"], "version": module["version"],
            "revision": revision_of(module),
            "name": image or ((run.get("entrypoint") or []) + (run.get("command") or []) + [""])[0],
            "digest": run.get("digest") or (pinned if is_digest(pinned) else None)})
    return found


def describe(step):
    kind, module = step["do"], step.get("module")
    if kind == "review": return f"{step['agent']} reviews the plan"
    if kind == "scale":
        if step["count"] == 0: return f"remove {module} {step['revision']}"
        return f"run {step['count']} × {module} {step['revision']}"
    if kind == "set-weight":
        if not step["weights"]: return f"no traffic to {module}"
        return f"traffic of {module} to " + ", ".join(f"{name} {step['weights'][name]}%" for name in sorted(step["weights"]))
    if kind == "roll-batch": return f"roll {module}: {step['new_count']} × {step['to']}, {step['old_count']} old"
    if kind == "pause": return f"pause {step['duration']}" if step.get("duration") else "wait for promote"
    if kind == "analyse": return f"watch {module} in the background" if step["background"] else f"analyse {module}"
    if kind == "smoke": return f"smoke test {module}"
    if kind == "hook":
        _, named, name = step["id"].partition("-hook-")
        return f"hook {name}" if named else f"hook {step['index']}"
    if kind == "certify": return "collect gates and evidence"
    if step["agent"] == "performance": return "measure against the last release"
    if step["agent"] == "guardian": return "write alert rules and soak"
    return "compare what runs with the last release" if step["stage"] == "rollback" else "compare what runs with the plan"


# --- the statement, told again

def story(records, field):
    """What the events give."""
    it = {"plan": None, "baseline": None, "back": [], "attempts": {}, "approvals": [], "until": None, "gate": "off",
          "advised": ("off", "", None), "done": [], "cause": None, "phase": None, "verdict": None}
    if not isinstance(records, list) or not records: refuse(field, "has no records")
    for at, record in enumerate(records):
        if record["version"] != at + 1 or record["id"] != records[0]["id"]: refuse(field, "has a gap")
    events = [(event, record["at"]) for record in records for event in record["events"]]
    if not events or events[0][0]["event"] != "received": refuse(field, "does not begin with what was asked for")
    it["received"], it["received_at"] = events[0]
    for event, at in events:
        name = event["event"]
        by = lambda what: it["done"].append({"what": what, "by": event["by"], "at": instant(at)})
        if name == "planned": it["plan"], it["baseline"] = event["plan"], event.get("baseline")
        elif name == "advice_asked": it["gate"] = max(it["gate"], event["gate"], key=["off", "advise", "require"].index)
        elif name == "advised": it["advised"] = (event["source"], event["summary"], event.get("advice"))
        elif name == "approval_awaited": it["until"] = instant(event["until"])
        elif name == "approved":
            it["approvals"].append({"by": event["by"], "plan": event["plan"], "at": instant(at), "until": it["until"]})
        elif name == "step_scheduled":
            fence = {"lock": event["fence"]["lock"], "epoch": event["fence"]["epoch"]}
            it["attempts"][event["step"], event["attempt"]] = {"scheduled": at, "key": event["idem_key"], "fence": fence}
        elif name == "step_started":
            it["attempts"].setdefault((event["step"], event["attempt"]), {})["runner"] = event["runner"]
        elif name == "step_finished":
            attempt = it["attempts"].setdefault((event["step"], event["attempt"]), {})
            if "result" not in attempt: attempt.update(finished=at, runner=event["runner"], result=event["result"])
        elif name in ("paused", "resumed", "record_skipped"): by(name)
        elif name == "promote_requested": by("promoted_in_full" if event["full"] else "promoted")
        elif name == "rollback_retried":
            by(name)
            back = {step["id"] for step in it["back"]}
            it["attempts"] = {key: value for key, value in it["attempts"].items() if key[0] not in back}
        elif name == "rollback_began": it["back"], it["cause"] = event["steps"], event["cause"]
        elif name == "human_needed": it["cause"] = it["cause"] or event["cause"]
        elif name in ("promoted", "rolled_back"): it["phase"] = (ENDINGS[name], at)
        elif name in ("decided", "closed"):
            it["verdict"] = it["verdict"] or (ENDINGS[event["verdict"]], at)
            it["cause"] = event.get("cause") or it["cause"]
    return it


def told_again(it, facts, spec, journal):
    """Every field that follows from the journal."""
    ending, ended = it["verdict"] or it["phase"] or refuse("journal.records", "has no ending yet")
    ended, received, plan = max(ended, it["received_at"]), it["received"], it["plan"]
    turned_back = ending not in ("PROMOTED", "UNPROVEN")
    steps = (plan["steps"] if plan else []) + it["back"]
    attempts = lambda step: sorted((key[1], value) for key, value in it["attempts"].items() if key[0] == step["id"])
    told_steps, gates, findings, inputs = [], [], [], []
    for kind in ("sbom", "provenance", "vulnerabilities", "test-result"):
        label = spec.get("labels", {}).get(f"code/{kind}")
        if is_digest(label): inputs.append({"kind": kind, "name": f"code/{kind}", "digest": label})
    for step in steps:
        all = attempts(step)
        count, last = all[-1] if all else (0, {})
        result = last.get("result") or {}
        when = lambda name: instant(last[name]) if last.get(name) is not None else None
        told_steps.append({
            "id": step["id"], "stage": step["stage"], "agent": step["agent"], "what": describe(step), "attempts": count,
            "idempotencyKey": last.get("key"), "fence": last.get("fence"), "runner": last.get("runner"),
            "scheduled": when("scheduled"), "finished": when("finished"), "outcome": result.get("outcome"),
            "reason": result.get("reason", ""), "evidence": result.get("evidence")})
        for attempt, known in all:
            for gate in (known.get("result") or {}).get("gates", []):
                gates.append({"step": step["id"], "attempt": attempt, "gate": gate["gate"], "outcome": gate["outcome"],
                              "measured": gate.get("measured"), "limit": gate.get("limit", ""), "samples": gate.get("samples", 0),
                              "text": gate["text"], "at": instant(gate["at"])})
        for found in result.get("findings", []):
            findings.append({"step": step["id"], "rule": found["rule"], "severity": found["severity"],
                             "module": found.get("module"), "message": found["message"], "waived": found.get("waived")})
        if result.get("evidence"):
            inputs.append({"kind": INPUTS[step["agent"]], "name": step["id"], "digest": result["evidence"]})
    source, summary, advice = it["advised"]
    opinion = advice and {
        "action": advice["action"], "reason": advice["reason"], "counted": advice["votes"], "effective": advice["effectiveVotes"],
        "votes": [{"expert": voice["expert"], "family": voice["family"], "status": voice["status"], "vote": voice.get("stance")}
                  for voice in advice["voices"]],
        "consultation": advice.get("consultation")}
    baseline = it["baseline"] and digest(it["baseline"]["spec"])
    observed = facts["observed"]
    if observed is not None:
        expected = {"PROMOTED": digest(spec), "ROLLED_BACK": baseline}
        if ending not in expected: refuse("predicate.observed", "nothing is expected to run")
        if observed["expected"] != expected[ending]: refuse("predicate.observed.expected", "is not what should run")
    return {
        "deployment": journal[0]["id"], "target": {"environment": spec["environment"], "platform": spec["target"], "name": spec["name"]},
        "mode": received["mode"], "ending": ending, "cause": cause(it["cause"], ending, ended) if turned_back else None,
        "initiator": received["initiator"], "forced": received.get("force"), "received": instant(it["received_at"]),
        "ended": instant(ended), "spec": digest(spec), "plan": plan and digest(plan), "baseline": baseline,
        "policy": policy_of(spec, it["gate"]), "approvals": it["approvals"],
        "artifacts": artifacts_of(spec), "steps": told_steps, "gates": gates, "findings": findings,
        "experts": {"source": source, "summary": summary, "opinion": opinion}, "interventions": it["done"], "inputs": inputs}


def cause(found, ending, ended):
    if found is None:
        text = f"{ending} without a cause in the journal"
        return {"kind": "operator", "step": None, "gate": None, "text": text, "at": instant(ended)}
    gate = found.get("gate")
    if gate:
        measured = f": measured {number(gate['measured'])}" if gate.get("measured") is not None else ""
        limit = f", limit {gate['limit']}" if gate.get("limit") else ""
        gate = f"{gate['gate']} {gate['outcome']}{measured}{limit} ({gate.get('samples', 0)} samples)"
    return {"kind": found["kind"], "step": found.get("step"), "gate": gate, "text": found["text"], "at": instant(found["at"])}


def same(field, found, expected):
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in expected:
            if name not in found: refuse(f"{field}.{name}", "is not there")
            same(f"{field}.{name}", found[name], expected[name])
        for name in found:
            if name not in expected: refuse(f"{field}.{name}", "is unknown")
    elif isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected): refuse(field, f"has {len(found)}, by the journal there are {len(expected)}")
        for at, (one, two) in enumerate(zip(found, expected)): same(f"{field}[{at}]", one, two)
    elif type(found) is not type(expected) and not (is_number(found) and is_number(expected)) or found != expected:
        refuse(field, f"is {found!r}, by the journal it is {expected!r}")


def is_number(value): return isinstance(value, (int, float)) and not isinstance(value, bool)


# --- what a promotion must show

def gaps(facts, spec, plan):
    """The first thing that is missing, as field and text, or nothing."""
    try:
        if plan is None: refuse("plan", "there is none")
        if facts["mode"] == "rollback":
            for step in plan["steps"]:
                if step["do"] in ("review", "pause", "analyse", "smoke"): refuse("mode", "the plan goes through gates")
        steps(facts, spec, plan)
        approvals(facts, spec)
        findings(facts, spec)
        experts(facts)
        times(facts)
        if facts["observed"] is None: refuse("observed", "nobody looked")
        if facts["observed"]["differences"]: refuse("observed.differences", "there are some")
    except Refused as gap: return gap
    return None


def steps(facts, spec, plan):
    known = {step["id"]: step for step in facts["steps"]}
    for planned in (step for step in plan["steps"] if step["stage"] in BEFORE):
        step = known.get(planned["id"]) or refuse("steps", f"{planned['id']} is not there")
        if step["outcome"] != "succeeded": refuse("steps", f"{planned['id']} did not succeed")
        skipped = planned["do"] == "analyse" and any(
            done["what"] == "promoted_in_full" and step["reason"] == f"skipped: promoted in full by {done['by']}"
            for done in facts["interventions"])
        if skipped: continue
        gates = [gate for gate in facts["gates"] if gate["step"] == planned["id"] and gate["attempt"] == step["attempts"]]
        judged(planned, gates, spec)
    for gate in facts["gates"]:
        step = known.get(gate["step"])
        if step is None or not 1 <= gate["attempt"] <= step["attempts"]: refuse("gates", "one is of no attempt")


def good(gate, samples):
    if gate["outcome"] != "succeeded": refuse("gates.outcome", f"{gate['gate']} {gate['outcome']}")
    if gate["measured"] is None: refuse("gates.measured", f"{gate['gate']} has no value")
    if gate["samples"] < max(samples, 1): refuse("gates.samples", f"{gate['gate']} has too few")
    return gate["measured"]


def tolerance(share, samples):
    part = share / 100
    return max(300 * (part * (1 - part) / max(samples, 1)) ** 0.5, 5.0)


def judged(step, gates, spec):
    if step["do"] == "set-weight" and step["verify"] and step["weights"]:
        if [gate["gate"] for gate in gates] != ["traffic-share"]: refuse("gates", f"of {step['id']} are not those asked for")
        gate = gates[0]
        measured = good(gate, 1)
        shares = [share for share in [*step["weights"].values(), 0]
                  if gate["limit"] == f"{share} ± {tolerance(share, gate['samples']):.1f} %"]
        if not shares: refuse("gates.limit", "is no share of the step")
        if not 0 <= measured <= 100 or abs(measured - shares[0]) > tolerance(shares[0], gate["samples"]):
            refuse("gates.measured", "is beyond its limit")
    elif step["do"] == "smoke":
        module = next(module for module in spec["modules"] if module["name"] == step["module"])
        tests = module.get("smoke", [])
        if [gate["gate"] for gate in gates] != [f"smoke {test['path']}" for test in tests]:
            refuse("gates", f"of {step['id']} are not those asked for")
        for gate, test in zip(gates, tests):
            measured = good(gate, test["times"])
            if gate["limit"] != "== 0": refuse("gates.limit", "is another")
            if measured != 0: refuse("gates.measured", "is beyond its limit")
    elif step["do"] == "analyse": analysed(step, gates)
    elif any(gate["outcome"] == "failed" for gate in gates): refuse("gates.outcome", "one failed")


def analysed(step, gates):
    metrics = {metric["name"]: metric for metric in step["analysis"]["metrics"]}
    names = [gate["gate"] for gate in gates]
    for name, metric in metrics.items():
        if name not in names and not metric["dryRun"]: refuse("gates", f"{name} is not there")
    if len(set(names)) != len(names) or not set(names) <= set(metrics): refuse("gates.gate", "are not those asked for")
    for gate in gates:
        metric = metrics[gate["gate"]]
        if gate["limit"] != limit(metric): refuse("gates.limit", "is another")
        if metric["dryRun"]: continue
        if gate["measured"] is None and gate["outcome"] == "succeeded" and metric["noData"] == "pass": continue
        provider = next(iter(metric["provider"]))
        counted = provider in ("errorRate", "latency", "requestRate")
        measured = good(gate, metric["minimumSamples"] if counted else 1)
        if counted and (measured < 0 or provider == "errorRate" and measured > 1): refuse("gates.measured", "cannot be")
        if metric["failureLimit"] or metric["inconclusiveLimit"]: continue
        success, failure = metric.get("success"), metric.get("failure")
        if success and not meets(success, measured) or failure and meets(failure, measured):
            refuse("gates.measured", "is beyond its limit")


def limit(metric):
    success, failure, against = metric.get("success"), metric.get("failure"), metric.get("baseline")
    found = []
    if success and failure: found.append(f"{success}, fails at {failure}")
    elif success: found.append(success)
    elif failure: found.append(f"fails at {failure}")
    if against:
        sign = {"increase": "+", "decrease": "-", "either": "±"}[against["bad"]]
        found.append(f"baseline {sign}{number(against['tolerance'] * 100)} %")
    return " and ".join(found)


def meets(condition, value):
    text = condition.strip()
    if text.startswith("in"):
        low, high = text[2:].split("..")
        return float(low) <= value <= float(high)
    sign, other = re.fullmatch(r"(<=|>=|==|<|>)\s*(\S+)", text).groups()
    other = float(other)
    return {"<": value < other, "<=": value <= other, ">": value > other, ">=": value >= other, "==": value == other}[sign]


def approvals(facts, spec):
    if facts["mode"] == "rollback":
        if facts["approvals"]: refuse("approvals", "a way back asks nobody")
        return
    people = set()
    for approval in facts["approvals"]:
        at, by = millis(approval["at"], "approvals.at"), approval["by"]
        if approval["plan"] != facts["plan"]: refuse("approvals.plan", "is another")
        if by == facts["initiator"] or facts["policy"]["approvers"] and by not in facts["policy"]["approvers"]:
            refuse("approvals.by", f"{by} may not")
        if approval["until"] is None: refuse("approvals.until", "is not said")
        until = millis(approval["until"], "approvals.until")
        if at > until: refuse("approvals.at", "is too late")
        if until > at + span(spec["deadlines"]["human"]) + SKEW: refuse("approvals.until", "is too late")
        if at > millis(facts["ended"], "ended") or at + SKEW < millis(facts["received"], "received"):
            refuse("approvals.at", "is not between the request and the end")
        people.add(by)
    if len(people) < facts["policy"]["approvals"]: refuse("approvals", "are too few")


def findings(facts, spec):
    known = {step["id"]: step for step in facts["steps"]}
    for found in facts["findings"]:
        step = known.get(found["step"]) or refuse("findings.step", "is not there")
        if found["waived"] is None:
            if step["stage"] in BEFORE and found["severity"] in ("high", "critical"): refuse("findings", "one is left")
            continue
        day = (step["scheduled"] or step["finished"] or facts["ended"])[:10]
        def waives(waiver):
            return (waiver["rule"] == found["rule"] and waiver.get("module") in (None, found["module"])
                    and len(waiver["expires"]) == 10 and waiver["expires"] >= day
                    and (found["severity"] != "critical" or found["rule"].rpartition("/")[2] in waiver["reason"])
                    and found["waived"] == f"{waiver['reason']} (until {waiver['expires']})")
        if step["agent"] != "security" or not any(map(waives, spec.get("waivers", []))):
            refuse("findings.waived", "nothing waives it")


def experts(facts):
    opinion, needed = facts["experts"]["opinion"], facts["policy"]["experts"] == "require"
    if facts["mode"] == "rollback":
        if opinion is not None: refuse("experts.opinion", "a way back asks nobody")
        return
    if opinion is None:
        if needed: refuse("experts.opinion", "is not there")
        return
    if not needed: return
    if opinion["action"] != "approve": refuse("experts.opinion.action", "does not approve")
    votes = [vote["vote"] for vote in opinion["votes"] if vote["status"] == "ok"]
    approve, reject, change = (votes.count(stance) for stance in ("approve", "reject", "needs_change"))
    counted = approve + reject + change
    if opinion["counted"] != counted: refuse("experts.opinion.counted", "is not what stands there")
    if not 0 <= opinion["effective"] <= counted + 1e-6: refuse("experts.opinion.effective", "is more than stands there")
    if approve == 0:
        refuse("experts.opinion.action", "does not follow from the votes")
    names = [vote["expert"] for vote in opinion["votes"]]
    if len(set(names)) != len(names): refuse("experts.opinion.votes", "somebody votes twice")
    for vote in opinion["votes"]:
        if vote["status"] not in ("ok", "abstained") and vote["vote"] is not None: refuse("experts.opinion.votes", "of nobody")


def times(facts):
    first, last = millis(facts["received"], "received") - SKEW, millis(facts["issued"], "issued") + SKEW
    def between(text, field):
        if text is not None and not first <= millis(text, field) <= last: refuse(field, "is not on the way")
    for step in facts["steps"]:
        between(step["scheduled"], "steps.scheduled")
        between(step["finished"], "steps.finished")
        if step["scheduled"] and step["finished"]:
            if millis(step["finished"], "") + SKEW < millis(step["scheduled"], ""): refuse("steps.finished", "is too early")
    for gate in facts["gates"]: between(gate["at"], "gates.at")
    for done in facts["interventions"]: between(done["at"], "interventions.at")


# --- the whole

FACTS = ["deployment", "target", "mode", "ending", "cause", "missing", "initiator", "forced", "received", "ended", "issued", "spec",
         "plan", "baseline", "policy", "approvals", "artifacts", "steps", "gates", "findings", "experts", "interventions",
         "observed", "inputs", "journal", "audit", "certifier"]


def leaf_of(entry, record, part, field):
    leaf, event = strict(entry, field), record["events"][part - 1]
    place = (leaf.get("subject"), leaf.get("cause"), leaf.get("action"), leaf.get("part"), leaf.get("parts"))
    if place != (record["id"], f"{record['id']}:{record['version']}", f"deployment.{event['event']}", part, len(record["events"])):
        refuse(field, "is another leaf")
    for name, value in (leaf.get("detail") or {}).items():
        if isinstance(value, str) and name in event and event[name] != value: refuse(field, f"says another {name}")


def placed(range, audit, records, trust):
    for name, record in (("first", records[0]), ("last", records[-1])):
        inclusion = fields(range[name], ["entry", "proof"], f"journal.range.{name}")
        leaf_of(inclusion["entry"], record, 1 if name == "first" else len(record["events"]), f"journal.range.{name}.entry")
        proof = notes.Proof(inclusion["proof"], f"journal.range.{name}.proof")
        proof.holds(inclusion["entry"])
        if trust.policy: trust.policy.check(proof.note, proof.field)
        if proof.index != audit[name]: refuse(f"predicate.audit.{name}", "is another")
        if proof.note.origin != audit["origin"]: refuse("predicate.audit.origin", "is another")
        if name == "last" and (proof.note.size, base64.b64encode(proof.note.root).decode()) != (audit["size"], audit["root"]):
            refuse("predicate.audit.size", "is not that of the proof")


def logged(file, facts, envelope, trust):
    """When a witness, and when the log itself, shows the certificate."""
    if file["log"] is not None:
        for part in fields(file["log"], ["entry", "proof"], "log").values():
            if not isinstance(part, str): refuse("log", "is no text")
    if trust.policy is None: return None, None
    if file["log"] is None: refuse("log", "is null, and the trust file wants the log's proof")
    inclusion = fields(file["log"], ["entry", "proof"], "log")
    leaf = strict(inclusion["entry"], "log.entry")
    detail = {"ending": facts["ending"], "statement": digest(envelope), "summary": digest(file["vsa"])}
    expected = ("certificate.issued", facts["deployment"], f"{facts['deployment']}:{facts['journal']['version']}", detail)
    if (leaf.get("action"), leaf.get("subject"), leaf.get("cause"), leaf.get("detail")) != expected:
        refuse("log.entry", "is not the record of this certificate")
    proof = notes.Proof(inclusion["proof"], "log.proof")
    proof.holds(inclusion["entry"])
    witnessed, own = trust.policy.check(proof.note, "log.proof")
    audit = facts["audit"]
    if audit:
        if audit["origin"] != proof.note.origin: refuse("predicate.audit.origin", "is another")
        if audit["last"] >= proof.index: refuse("predicate.audit.last", "is after the certificate")
        is_one = audit["size"] != proof.note.size or audit["root"] == base64.b64encode(proof.note.root).decode()
        if audit["size"] > proof.note.size or not is_one: refuse("predicate.audit.size", "is not of this log")
    return witnessed, own


def in_force(key, issued, witnessed, own, now):
    if issued < millis(key["validFrom"], "trust"): refuse("trust.keys", "is not valid yet")
    if key["validUntil"] is not None and issued >= millis(key["validUntil"], "trust"): refuse("trust.keys", "is over")
    if key["revoked"] is not None:
        if witnessed is None or witnessed >= millis(key["revoked"], "trust"): refuse("trust.keys", "is revoked")
    elif key["validUntil"] is not None and millis(key["validUntil"], "trust") <= now:
        seen = witnessed if witnessed is not None else own
        if seen is None or seen >= millis(key["validUntil"], "trust"): refuse("trust.keys", "is over, and nothing shows it before")


def verify(data, trust, now):
    try: text = data.decode()
    except UnicodeDecodeError: refuse("certificate", "is no text")
    file = fields(read(text, "certificate"), ["mediaType", "bundle", "vsa", "documents", "journal", "log"], "certificate")
    bundle = fields(file["bundle"], ["mediaType", "verificationMaterial", "dsseEnvelope"], "bundle")
    if file["mediaType"] != "application/vnd.code.certificate.v1+json": refuse("mediaType", "is another")
    if bundle["mediaType"] != "application/vnd.dev.sigstore.bundle.v0.3+json": refuse("bundle.mediaType", "is another")
    envelope = bundle["dsseEnvelope"]
    payload, keys = signed(envelope, "bundle.dsseEnvelope", ["ecdsa-p256-sha256"], trust)
    also, more = signed(file["vsa"], "vsa", ["ecdsa-p256-sha256", "ml-dsa-65"], trust)
    material = fields(bundle["verificationMaterial"], ["publicKey", "tlogEntries"], "bundle.verificationMaterial")
    hint = fields(material["publicKey"], ["hint"], "bundle.verificationMaterial.publicKey")["hint"]
    if hint != base64.b64encode(bytes.fromhex(keys[0]["id"])).decode(): refuse("bundle.verificationMaterial.publicKey.hint", "is another")
    if material["tlogEntries"] != []: refuse("bundle.verificationMaterial.tlogEntries", "are of another log")
    statement = fields(read(payload, "bundle.dsseEnvelope.payload"), ["_type", "subject", "predicateType", "predicate"], "statement")
    if (statement["_type"], statement["predicateType"]) != (STATEMENT, PREDICATE): refuse("statement", "is of another type")
    facts = fields(statement["predicate"], FACTS, "predicate")

    documents = fields(file["documents"], ["spec", "plan"], "documents")
    spec = strict(documents["spec"], "documents.spec")
    plan = None if documents["plan"] is None else strict(documents["plan"], "documents.plan")
    journal = fields(file["journal"], ["records", "range"], "journal")
    records = strict(journal["records"], "journal.records")
    if sha256(documents["spec"].encode()) != facts["spec"]: refuse("documents.spec", "has another digest")
    if (None if plan is None else sha256(documents["plan"].encode())) != facts["plan"]: refuse("documents.plan", "has another digest")
    if facts["journal"] != {"version": len(records), "digest": sha256(journal["records"].encode())}:
        refuse("predicate.journal", "is not that which is enclosed")

    it = story(records, "journal.records")
    if it["received"]["spec"] != spec or it["plan"] != plan: refuse("journal.records", "is of another spec or plan")
    expected = told_again(it, facts, spec, records)
    gap = gaps(facts, spec, plan) if expected["ending"] == "PROMOTED" else None
    if expected["ending"] == "PROMOTED" and gap: expected["ending"] = "UNPROVEN"
    if facts["ending"] == "PROMOTED" and gap: raise Refused(f"predicate.{gap.field}", gap.text)
    if bool(facts["missing"]) != (expected["ending"] == "UNPROVEN"): refuse("predicate.missing", "fits not the ending")
    taken = ("observed", "audit", "certifier", "issued", "journal", "missing")
    same("predicate", {name: value for name, value in facts.items() if name not in taken}, expected)
    ended, issued = millis(facts["ended"], "predicate.ended"), millis(facts["issued"], "predicate.issued")
    seen = ended
    if facts["observed"] is not None:
        fields(facts["observed"], ["at", "expected", "differences"], "predicate.observed")
        seen = millis(facts["observed"]["at"], "predicate.observed.at")
    if seen < ended: refuse("predicate.observed.at", "is before the end")
    if issued < seen: refuse("predicate.issued", "is before the look")
    fields(facts["certifier"], ["replica", "version"], "predicate.certifier")

    subjects = ([{"name": "plan", "digest": {"sha256": facts["plan"][7:]}}] if facts["plan"] else []) + [
        {"name": "spec", "digest": {"sha256": facts["spec"][7:]}}] + [
        {"name": f"{artifact['module']} {artifact['name']}", "digest": {"sha256": artifact["digest"][7:]}}
        for artifact in facts["artifacts"] if artifact["digest"]]
    if statement["subject"] != subjects: refuse("statement.subject", "are others")
    target, passed = ".".join(facts["target"][part] for part in ("environment", "platform", "name")), facts["mode"] == "apply" and facts["ending"] == "PROMOTED"
    summary = {"_type": STATEMENT, "predicateType": SUMMARY, "subject": subjects, "predicate": {
        "verifier": {"id": "https://code.example/certifier", "version": {"code": facts["certifier"]["version"]}},
        "timeVerified": facts["issued"], "resourceUri": f"code:{target}",
        "policy": {"uri": f"code:policy/{target}", "digest": {"sha256": facts["policy"]["digest"][7:]}},
        "inputAttestations": [{"uri": f"code:certificate/{facts['deployment']}", "digest": {"sha256": digest(envelope)[7:]}}],
        "verificationResult": "PASSED" if passed else "FAILED", "verifiedLevels": ["CODE_DEPLOYMENT_L1" if passed else "FAILED"],
        "slsaVersion": "1.1"}}
    same("vsa", read(also, "vsa.payload"), summary)

    audit = facts["audit"]
    if (audit is None) != (journal["range"] is None): refuse("journal.range", "does not fit the statement")
    if audit is not None:
        fields(audit, ["origin", "first", "last", "records", "size", "root"], "predicate.audit")
        if audit["records"] != len(records): refuse("predicate.audit.records", "are not those of the journal")
        placed(fields(journal["range"], ["first", "last"], "journal.range"), audit, records, trust)
    witnessed, own = logged(file, facts, envelope, trust)
    seen = witnessed if witnessed is not None else own
    if issued > min(now, seen if seen is not None else now) + SKEW: refuse("predicate.issued", "is in the future")
    for key in keys + more: in_force(key, issued, witnessed, own, now)


def main(trust, now, *files):
    trust = Trust(Path(trust).read_text())
    for file in files:
        try:
            verify(Path(file).read_bytes(), trust, int(now))
            print(f"{file} valid")
        except Refused as refused: print(f"{file} invalid: {refused}")
        # What has not the shape that the documents describe is not read.
        except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError, StopIteration) as error:
            print(f"{file} invalid: certificate: cannot be read: {type(error).__name__} {error}")


if __name__ == "__main__": main(*sys.argv[1:])
