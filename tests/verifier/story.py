"""The statement told again from the journal (docs/certificate.md, "The journal, and how a certificate follows from it")."""
import re

from common import Bad, canonical, digest, digest_text
from certificate_base import exact, four, rfc3339
from approvals import name_of, person
from order import Order
import approvals

KINDS_OF_INPUT = {"architect": "resource-plan", "integrator": "contract-review", "toolsmith": "tool-check", "security": "security-review",
                  "tester": "test-result", "deployer": "deployment-log", "performance": "measurements", "validator": "end-state",
                  "guardian": "alert-rules", "certifier": "deployment-record"}
MODES = ["off", "advise", "require"]


def target_of(spec):
    return {"environment": spec.get("environment", "default"), "platform": spec["target"], "name": spec["name"]}


def target_text(spec):
    t = target_of(spec)
    return f"{t['environment']}.{t['platform']}.{t['name']}"


def revision(module):
    run, health = module["run"], module.get("health")
    value = [[run, module.get("resources", {}), module.get("ports", []), health],
             [module.get("environment", {}), module.get("config", []), module.get("secrets", []), module.get("volumes", []),
              module.get("openapi")]]
    return digest(value)[7:19]


def artifacts(spec):
    out = []
    for m in spec["modules"]:
        run = m["run"]
        pinned = run.get("digest")
        name = run.get("image")
        if name is None:
            words = run.get("command") or run.get("entrypoint") or []
            name = words[0] if words else ""
        elif pinned is None and "@" in name:
            pinned = name.rsplit("@", 1)[1]
        out.append({"module": m["name"], "version": m.get("version", "0.0.0"), "revision": revision(m), "name": name, "digest": pinned})
    return out


def policy_digest(spec):
    strategy = spec.get("strategy", {"rolling": {"maxSurge": 1, "maxUnavailable": 0}})
    return digest({"gates": spec.get("gates", {"experts": "off"}),
                   "modules": [{"module": m["name"], "analysis": m.get("analysis"), "smoke": m.get("smoke", []),
                                "strategy": m.get("strategy") or strategy} for m in spec["modules"]],
                   "waivers": spec.get("waivers", [])})


def secrets_of(spec):
    return {m["name"]: m["secrets"] for m in (spec or {}).get("modules", []) if m.get("secrets")}


def what(step):
    """One line of what a step does."""
    do, module, agent = step["do"], step.get("module"), step["agent"]
    back = step["stage"] == "rollback"
    if do == "review":
        return f"{agent} reviews the plan"
    if do == "scale":
        return f"run {step['count']} \u00d7 {module} {step['revision']}" if step["count"] else f"remove {module} {step['revision']}"
    if do == "set-weight":
        weights = step.get("weights") or {}
        if not weights:
            return f"no traffic to {module}"
        return f"traffic of {module} to " + ", ".join(f"{r} {weights[r]}%" for r in sorted(weights))
    if do == "roll-batch":
        return f"roll {module}: {step['new_count']} \u00d7 {step['to']}, {step['old_count']} old"
    if do == "pause":
        how_long = step.get("duration")
        if how_long is None:
            return "wait for promote"
        return f"hold the old set for {how_long}" if step["stage"] == "verify" else f"pause {how_long}"
    if do == "analyse":
        return f"watch {module} in the background" if step.get("background") else f"analyse {module}"
    if do == "guard":
        return f"look after the instances of {module}"
    if do == "smoke":
        return f"smoke test {module}"
    if do == "hook":
        return f"hook {step['id'].partition('-hook-')[2] or step['index']}"
    if do == "certify":
        return "collect gates and evidence"
    if do == "validate":
        if back:
            return "compare what runs with what ran before"
        return {"performance": "measure against what ran before", "guardian": "write alert rules and soak"}.get(agent, "compare what runs with the plan")
    raise Bad("plan", f"a step that does {do!r} is not known")


GOES_ON = ("lock_awaited", "locked", "execution_began")
ACTS = {"paused": "paused", "resumed": "resumed", "record_skipped": "record_skipped", "rollback_retried": "rollback_retried"}


class Story:
    """What the journal tells. Instants in milliseconds."""

    def __init__(self, records):
        if not isinstance(records, list) or not records:
            raise Bad("journal", "is no list of records")
        self.deployment = None
        self.spec = self.plan = self.plan_digest = self.baseline = self.baseline_digest = None
        self.gates_of_advice, self.advised = [], None
        self.until = self.terms = None
        self.approvals = []          # {by, plan, at, until, expires}
        self.interventions = []      # {what, by, at}
        self.attempts = {}           # step -> attempt -> what is told of it
        self.back, self.cause, self.verdict, self.ending, self.ended = [], None, None, None, None
        self.nonces = set()
        self.touched = False         # whether secrets are, as of the last `approval_awaited`
        self.signature_gaps = []     # (text or None when the documentation does not say how it reads, ours)
        self.went_on = False
        self.order = Order()         # whether it went straight on
        self.events = self.planned_at = self.advised_at = 0
        for number, record in enumerate(records, 1):
            where = f"journal[{number}]"
            exact(record, ("id", "version", "writer", "at", "events"), where, ("trace",))
            if record["version"] != number or type(record["version"]) is not int:
                raise Bad(f"{where}.version", f"is {record['version']!r}, a gap")
            self.deployment = self.deployment or record["id"]
            if record["id"] != self.deployment or not isinstance(record["id"], str):
                raise Bad(f"{where}.id", "is of another deployment")
            if type(record["at"]) is not int or record["at"] < 0:
                raise Bad(f"{where}.at", "is no instant")
            if not isinstance(record["events"], list) or not record["events"]:
                raise Bad(f"{where}.events", "are none")
            for part, event in enumerate(record["events"], 1):
                if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                    raise Bad(where, "has an event without a name")
                if (self.spec is None) != (event["event"] == "received"):
                    raise Bad(where, "`received` is the first event, and only that")
                self.order.hear(event, record["at"], self.terms is not None)
                self.hear(event, record["at"], where)
                self.events += 1
        self.version = len(records)
        self.first, self.last = (records[0], records[0]["events"][0], 1), (records[-1], records[-1]["events"][-1], len(records[-1]["events"]))

    def attempt(self, event):
        return self.attempts.setdefault(event["step"], {}).setdefault(event["attempt"], {})

    def hear(self, e, at, where):
        kind = e["event"]
        if kind == "received":
            self.spec, self.mode, self.initiator, self.forced, self.received = e["spec"], e["mode"], e["initiator"], e.get("force"), at
            self.spec_digest, self.expected_plan = digest(self.spec), e.get("expected_plan")
            if e.get("spec_digest", self.spec_digest) != self.spec_digest:
                raise Bad(f"{where}.spec_digest", "is not that of the spec")
        elif kind == "planned":
            if digest(e["plan"]) != self.plan_digest:
                self.planned_at = self.events
            self.plan, self.plan_digest = e["plan"], digest(e["plan"])
            self.baseline = e["baseline"]["spec"] if e.get("baseline") is not None else None
            self.baseline_digest = digest(self.baseline) if self.baseline is not None else None
        elif kind == "advice_asked":
            self.gates_of_advice.append(e["gate"])
        elif kind == "advised":
            self.advised, self.advised_at = e, self.events
        elif kind == "approval_awaited":
            self.until, self.touched = e.get("until"), secrets_of(self.spec) != secrets_of(self.baseline)
            terms = e.get("terms")
            if terms is None:
                self.nonces = set()
            if canonical(terms) != canonical(self.terms.value if self.terms else None):
                self.approvals = []
                self.terms = None if terms is None else approvals.Terms(terms, f"{where}.terms")
        elif kind in ("approved", "denied"):
            self.decision(e, at, where)
        elif kind == "step_scheduled":
            self.attempts.setdefault(e["step"], {})[e["attempt"]] = {"scheduled": at, "key": e["idem_key"], "fence": e["fence"]}
        elif kind == "step_started":
            self.attempt(e)["runner"] = e["runner"]
        elif kind == "step_finished":
            told = self.attempt(e)
            if "result" not in told:
                told.update(finished=at, runner=e["runner"], result=e["result"])
        elif kind in ACTS:
            self.interventions.append({"what": ACTS[kind], "by": e["by"], "at": at})
            if kind == "rollback_retried":
                for step in self.back:
                    self.attempts.pop(step["id"], None)
        elif kind == "promote_requested":
            self.interventions.append({"what": "promoted_in_full" if e.get("full") else "promoted", "by": e["by"], "at": at})
        elif kind == "rollback_began":
            self.cause, self.back = e["cause"], e["steps"]
        elif kind == "human_needed":
            if self.cause is None:
                self.cause = e.get("cause")
        elif kind in ("promoted", "rolled_back"):
            if self.verdict is None:
                self.ending, self.ended = kind.upper(), at
        elif kind in ("decided", "closed"):
            if self.verdict is None:
                self.verdict = e["verdict"]
                self.ending, self.ended = self.verdict.upper(), at
            if e.get("cause") is not None:
                self.cause = e["cause"]
        if kind in GOES_ON and not self.went_on:
            self.went_on = True
            if self.terms:
                expires = {name_of(a["by"]): a["expires"] for a in self.approvals if a["expires"] is not None}
                for text in approvals.lacking(self.terms, self.touched, {name for name, end in expires.items() if end >= at}):
                    self.complain(text)

    def complain(self, text, known=True):
        self.signature_gaps.append((text if known else None, text))

    def decision(self, e, at, where):
        signed, expires, who = e.get("signed"), None, person(e["by"])
        if signed is None and e["by"].startswith("signer:"):
            self.complain(f"{who} is said to have signed, and no signature is there")
        elif signed is None and self.terms is not None:
            self.complain(f"{who} did not sign where signatures were waited for")
        if self.terms is None:
            if signed is not None:
                return self.complain(f"{who} signed where no signers were in force")
        elif signed is None:
            return None
        else:
            if self.plan is None:
                return self.complain(f"{who} signed before there was a plan")
            if e["plan"].lower() != self.plan_digest:
                return self.complain(f"what {who} signed is recorded under another plan")
            steps = [(s["id"], what(s)) for s in self.plan["steps"]]
            shown = approvals.shown(self.deployment, target_text(self.spec), self.initiator, self.spec, self.plan_digest, steps)
            facts = {"deployment": self.deployment, "target": target_text(self.spec), "environment": target_of(self.spec)["environment"],
                     "plan": self.plan_digest, "initiator": self.initiator, "shown": digest_text(shown), "secrets_touched": self.touched}
            try:
                approver, expires, nonce = approvals.judge(signed, e, at, self.terms, facts, self.nonces, where)
            except Bad as bad:
                return self.complain(f"{who}: {bad}", known=False)
            if e["by"] != f"signer:{approver}":
                return self.complain(f"{person('signer:' + approver)} signed what is said to be of {who}")
            self.nonces.add(nonce)
        if e["event"] == "approved":
            self.approvals.append({"by": e["by"], "plan": e["plan"], "at": at, "until": self.until, "expires": expires})
        else:
            self.interventions.append({"what": "denied", "by": e["by"], "at": at})
        return None

    # ---------------------------------------------------------------- the statement's fields

    def steps(self):
        """(step of the plan or back, number of its last attempt, what is told of it)."""
        for step in (self.plan["steps"] if self.plan else []) + self.back:
            tries = self.attempts.get(step["id"], {})
            last = max(tries, default=0)
            yield step, last, tries.get(last, {})

    def tell(self):
        """All fields of the predicate that the journal gives; ending and missing without the look for gaps."""
        steps, gates, findings, evidence = [], [], [], []
        for step, last, told in self.steps():
            result = told.get("result") or {}
            steps.append({
                "id": step["id"], "stage": step["stage"], "agent": step["agent"], "what": what(step), "attempts": last,
                "idempotencyKey": told.get("key"), "fence": told.get("fence"), "runner": told.get("runner"),
                "scheduled": rfc3339(told["scheduled"]) if "scheduled" in told else None,
                "finished": rfc3339(told["finished"]) if "finished" in told else None,
                "outcome": result.get("outcome"), "reason": result.get("reason") or "",
                "skippedBy": result.get("skippedBy"), "evidence": result.get("evidence")})
            for attempt, each in sorted(self.attempts.get(step["id"], {}).items()):
                for gate in (each.get("result") or {}).get("gates") or []:
                    kept = {} if gate.get("evidence") is None else {"evidence": gate["evidence"]}
                    gates.append({"step": step["id"], "attempt": attempt, "gate": gate["gate"], "outcome": gate["outcome"],
                                  "measured": gate.get("measured"), "limit": gate.get("limit") or "", "samples": gate.get("samples") or 0,
                                  "text": gate.get("text"), "at": rfc3339(gate["at"]), **kept})
            for f in result.get("findings") or []:
                findings.append({"step": step["id"], "rule": f["rule"], "severity": f["severity"], "module": f.get("module"),
                                 "message": f["message"], "waived": f.get("waived")})
            if result.get("evidence") is not None:
                if step["agent"] not in KINDS_OF_INPUT:
                    raise Bad("inputs", f"the agent {step['agent']!r} is not known")
                evidence.append({"kind": KINDS_OF_INPUT[step["agent"]], "name": step["id"], "digest": result["evidence"]})
        labels = self.spec.get("labels") or {}
        named = [{"kind": k, "name": f"code/{k}", "digest": labels[f"code/{k}"]} for k in ("sbom", "provenance", "vulnerabilities", "test-result")
                 if re.fullmatch("sha256:[0-9a-f]{64}", labels.get(f"code/{k}", ""))]
        wanted = (self.spec.get("gates") or {}).get("approvals") or {}
        modes = [(self.spec.get("gates") or {}).get("experts", "off")] + self.gates_of_advice
        for mode in modes:
            if mode not in MODES:
                raise Bad("policy.experts", f"the mode {mode!r} is not known")
        return {
            "deployment": self.deployment, "target": target_of(self.spec), "mode": self.mode, "ending": self.ending,
            "cause": self.the_cause(), "initiator": self.initiator, "forced": self.forced,
            "received": rfc3339(self.received), "ended": rfc3339(self.ended) if self.ended is not None else None,
            "spec": self.spec_digest, "plan": self.plan_digest, "baseline": self.baseline_digest,
            "policy": {"digest": policy_digest(self.spec), "approvals": wanted.get("required", 0), "approvers": wanted.get("from", []),
                       "experts": max(modes, key=MODES.index)},
            "approvals": [{"by": a["by"], "plan": a["plan"], "at": rfc3339(a["at"]), "until": None if a["until"] is None else rfc3339(a["until"])}
                          for a in self.approvals],
            "artifacts": artifacts(self.spec), "steps": steps, "gates": gates, "findings": findings, "experts": self.experts(),
            "interventions": [{**i, "at": rfc3339(i["at"])} for i in self.interventions],
            "inputs": named + evidence,
        }

    def the_cause(self):
        if self.ending == "PROMOTED":
            return None
        if self.cause is None:
            return {"kind": "operator", "step": None, "gate": None, "text": f"{self.ending} without a cause in the journal", "at": None if self.ended is None else rfc3339(self.ended)}
        gate = self.cause.get("gate")
        if gate is not None:
            text = f"{gate['gate']} {gate['outcome']}"
            parts = []
            if gate.get("measured") is not None:
                parts.append(f"measured {four(gate['measured'])}")
            if gate.get("limit"):
                parts.append(f"limit {gate['limit']}")
            if parts:
                text += ": " + ", ".join(parts)
            if gate.get("samples") is not None:
                text += f" ({gate['samples']} samples)"
            gate = text
        at = self.cause.get("at")
        return {"kind": self.cause["kind"], "step": self.cause.get("step"), "gate": gate, "text": self.cause.get("text", ""),
                "at": None if at is None else rfc3339(at)}

    def experts(self):
        if self.advised is None:
            return {"source": "off", "summary": "", "opinion": None}
        advice, opinion = self.advised.get("advice"), None
        if advice is not None:
            opinion = {"action": advice["action"], "reason": advice["reason"], "counted": advice["votes"], "effective": advice["effectiveVotes"],
                       "votes": [{"expert": v["expert"], "family": v["family"], "status": v["status"], "vote": v.get("stance")} for v in advice["voices"]],
                       "consultation": advice.get("consultation")}
        return {"source": self.advised["source"], "summary": self.advised["summary"], "opinion": opinion}
