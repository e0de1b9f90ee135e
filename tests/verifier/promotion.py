"""What a promotion must show, and the texts of `missing` (docs/certificate.md, the sections of these names)."""
import math

from approvals import name_of, person, quoted
from certificate_base import SKEW, condition, equal, four, instant, plain, rfc3339, span
from plan import plan_gaps
from story import revision, target_of

JUDGED = ("check", "execute", "verify")
PEOPLE = ("unauthenticated", "signer")


class Gaps(list):
    """What a promotion lacks: (text or None when the documentation does not say how it reads, ours)."""

    def add(self, text):
        self.append((text, text))

    def unnamed(self, ours):
        self.append((None, ours))


def finite(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# ---------------------------------------------------------------- gates

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
        parts.append(f"baseline {sign}{four(float(baseline.get('tolerance', 0.25)) * 100)} %")
    return " and ".join(parts)


def worth(gate, needed):
    """The first that every gate must have and this one has not."""
    if gate["outcome"] != "succeeded":
        return gate["outcome"]
    if not finite(gate["measured"]):
        return "has no measured value"
    if gate["samples"] < needed:
        return f"rests on {gate['samples']} samples, {needed} are needed"
    return None


def traffic_fault(step, gate):
    fault = worth(gate, 1)
    if fault is not None:
        return fault
    measured, samples = gate["measured"], gate["samples"]
    for share in {*step["weights"].values(), 0}:
        p = share / 100
        tolerance = max(5.0, 300 * math.sqrt(p * (1 - p) / samples))
        if gate["limit"] == f"{share} \u00b1 {tolerance:.1f} %":
            if not 0 <= measured <= 100:
                return f"measured {plain(measured)}, which cannot be"
            return None if abs(measured - share) <= tolerance else f"measured {plain(measured)}, which is not within {gate['limit']}"
    return f"was held against {quoted(gate['limit'])}, which is no share of the step among {samples} requests"


def smoke_fault(gate, needed):
    fault = worth(gate, needed)
    if fault is None and gate["limit"] != "== 0":
        fault = f"was held against {quoted(gate['limit'])}, asked for is \"== 0\""
    if fault is None and gate["measured"] != 0:
        fault = f"measured {plain(gate['measured'])} failures, which is not == 0"
    return fault


def metric_fault(metric, gate, where):
    if gate["limit"] != limit_of(metric):
        return f"was held against {quoted(gate['limit'])}, asked for is {quoted(limit_of(metric))}"
    if metric.get("dryRun", False):
        return None
    if gate["outcome"] == "succeeded" and gate["measured"] is None and metric.get("noData", "inconclusive") == "pass":
        return None
    (provider,) = metric["provider"].keys()
    counted = provider in ("errorRate", "latency", "requestRate")
    fault = worth(gate, metric.get("minimumSamples", 20) if counted else 1)
    if fault is not None:
        return fault
    measured = gate["measured"]
    if (counted and measured < 0) or (provider == "errorRate" and measured > 1):
        return f"measured {plain(measured)}, which cannot be"
    if metric.get("failureLimit", 0) > 0 or metric.get("inconclusiveLimit", 0) > 0:
        return None
    success, failure = metric.get("success"), metric.get("failure")
    if (success is not None and not condition(success, where)(measured)) or (failure is not None and condition(failure, where)(measured)):
        return f"measured {plain(measured)}, which is beyond {gate['limit']}"
    return None


def in_places(step, gates, names, gaps):
    """The gates of traffic and smoke tests stand in their places. Gives the pairs (place, gate) that fit."""
    name, found = f"step {step['id']}", [g["gate"] for g in gates]
    if not found:
        gaps.add(f"{name} has no gate: nothing was measured")
        return []
    for i, asked in enumerate(names):
        if i >= len(found):
            gaps.add(f"{name} has no gate {asked}: nothing was measured")
        elif found[i] != asked:
            gaps.add(f"{name} has the gate {found[i]}, where {asked} is asked for")
    for each in found[len(names):]:
        gaps.add(f"{name} has the gate {each}, which nothing asks for")
    return [(i, g) for i, g in enumerate(gates[:len(names)]) if g["gate"] == names[i]]


def analysis_gates(step, gates, gaps):
    name, metrics = f"step {step['id']}", {m["name"]: m for m in step["analysis"]["metrics"]}
    found, seen = {g["gate"] for g in gates}, set()
    for metric in metrics.values():
        if metric["name"] not in found and not metric.get("dryRun", False):
            gaps.add(f"{name} has no gate {metric['name']}: nothing was measured")
    for gate in gates:
        if gate["gate"] not in metrics:
            gaps.add(f"{name} has the gate {gate['gate']}, which nothing asks for")
        elif gate["gate"] in seen:
            gaps.add(f"{name} has the gate {gate['gate']} twice")
        seen.add(gate["gate"])
    return [(metric_fault(metrics[g["gate"]], g, name), g) for g in gates if g["gate"] in metrics]


def gate_gaps(story, step, gates, succeeded, gaps):
    """The gates of a step's last attempt."""
    modules = {(m["name"], revision(m)): m for m in story.spec["modules"]}
    if step["do"] == "set-weight" and step.get("verify") and step.get("weights"):
        judged = [(traffic_fault(step, g), g) for _, g in in_places(step, gates, ["traffic-share"], gaps)]
    elif step["do"] == "smoke" and (step["module"], step["revision"]) in modules:
        asked = modules[step["module"], step["revision"]].get("smoke") or []
        judged = [(smoke_fault(g, asked[i].get("times", 1)), g)
                  for i, g in in_places(step, gates, [f"smoke {t['path']}" for t in asked], gaps)]
    elif step["do"] == "smoke":
        if not gates:
            gaps.add(f"step {step['id']} has no gate: nothing was measured")
        judged = [(smoke_fault(g, 1), g) for g in gates]
        for gate in gates:
            if not gate["gate"].startswith("smoke "):
                gaps.unnamed(f"step {step['id']} has the gate {gate['gate']}, which is no smoke test")
    elif step["do"] == "analyse":
        judged = analysis_gates(step, gates, gaps)
    elif step["do"] == "validate" and step["agent"] == "guardian":
        judged = [(smoke_fault(g, 1), g) for _, g in in_places(step, gates, ["soak"], gaps)]
    else:
        for gate in gates:
            if gate["outcome"] == "failed":
                text = f"step {step['id']} gate {gate['gate']} failed, and the step succeeded"
                gaps.add(text) if succeeded else gaps.unnamed(text)
        return
    for fault, gate in judged:
        if fault is not None:
            gaps.add(f"step {step['id']} gate {gate['gate']} {fault}")


def step_gaps(story, gaps):
    skippers = {i["by"] for i in story.interventions if i["what"] == "promoted_in_full"}
    for step, _, told in story.steps():
        if step["stage"] not in JUDGED:
            continue
        result = told.get("result")
        outcome = None if result is None else result["outcome"]
        if result is None:
            gaps.add(f"step {step['id']} has no result")
            result = {}
        elif outcome != "succeeded":
            gaps.add(f"step {step['id']} {outcome}")
        skipped = result.get("skippedBy")
        if skipped is not None:
            if step["do"] not in ("pause", "analyse") or skipped not in skippers:
                gaps.add(f"step {step['id']} is called skipped by {person(skipped)}, who could not")
            continue
        if outcome is not None and "scheduled" not in told:
            gaps.add(f"step {step['id']} ended and never began")
        gates = [{**g, "measured": g.get("measured"), "limit": g.get("limit") or "", "samples": g.get("samples") or 0}
                 for g in result.get("gates") or []]
        gate_gaps(story, step, gates, outcome == "succeeded", gaps)


# ---------------------------------------------------------------- people, findings, experts

def approval_fault(story, approval, allowed, human):
    """The first reason why an approval does not count. An empty one: it does not, and nothing is wrong with that."""
    kind, _, name = approval["by"].partition(":")
    who, at, until = person(approval["by"]), approval["at"], approval["until"]
    if approval["plan"].lower() != story.plan_digest:
        return f"{who} approved another plan"
    if kind not in PEOPLE:
        return f"{who} is no person and cannot approve it"
    if name == name_of(story.initiator):
        return f"{who} asked for it and cannot approve it"
    if allowed and name not in allowed and approval["by"] not in allowed:
        return "" if kind == "signer" else f"{who} may not approve"
    if until is None:
        return f"{who} approved, and nothing says until when that was possible"
    if at > until:
        return f"{who} approved after the time for it"
    if until > at + span(human, "deadlines.human") + SKEW:
        return f"approvals were taken until {rfc3339(until)}, the spec waits {human} for people"
    if at > story.ended + SKEW:
        return f"{who} approved when it was over"
    if at < story.received - SKEW:
        return f"{who} approved before it was asked for"
    return None


def people_gaps(story, gaps):
    if story.mode == "rollback":
        if story.approvals:
            gaps.add(f"{person(story.approvals[0]['by'])} approved a way back, which asks nobody")
    else:
        wanted = (story.spec.get("gates") or {}).get("approvals") or {}
        human = (story.spec.get("deadlines") or {}).get("human", "1day")
        people = set()
        for approval in story.approvals:
            fault = approval_fault(story, approval, wanted.get("from") or [], human)
            if fault is None:
                people.add(name_of(approval["by"]))
            elif fault:
                gaps.add(fault)
        if len(people) < wanted.get("required", 0):
            gaps.add(f"{len(people)} of {wanted['required']} approvals")
    for each in story.interventions:
        if each["what"] == "denied":
            gaps.add(f"{person(each['by'])} denied it")


def finding_gaps(story, p, gaps):
    steps = {step["id"]: (step, told.get("scheduled", told.get("finished"))) for step, _, told in story.steps()}
    for f in p["findings"]:
        step, at = steps[f["step"]]
        if f["waived"] is None:
            if f["severity"] in ("high", "critical") and step["stage"] in JUDGED:
                gaps.add(f"{f['rule']} ({f['severity']}) was found and not accepted: {f['message']}")
        elif step["agent"] != "security" or not any(
                w["rule"] == f["rule"] and w.get("module") in (None, f["module"]) and rfc3339(at)[:10] <= w["expires"]
                and f["waived"] == f"{w['reason']} (until {w['expires']})"
                and (f["severity"] != "critical" or f["rule"].rsplit("/", 1)[-1] in w["reason"])
                for w in story.spec.get("waivers") or []):
            gaps.add(f"{f['rule']} is called accepted ({f['waived']}), and no waiver of the spec does")


def opinion_gaps(opinion, gaps):
    if opinion is None:
        return gaps.add("the experts had to approve and there is no opinion")
    votes = [v["vote"] for v in opinion["votes"] if v["status"] == "ok" and v["vote"] not in (None, "abstain")]
    if opinion["action"] != "approve":
        gaps.add(f"the experts had to approve and say {opinion['action']}")
    if opinion["counted"] != len(votes):
        gaps.add(f"{opinion['counted']} votes are said to count, {len(votes)} stand there")
    if not finite(opinion["effective"]) or not 0 <= opinion["effective"] <= len(votes) + 1e-6:
        gaps.add(f"{len(votes)} votes are said to be worth {plain(opinion['effective'])}")
    if opinion["action"] == "approve" and "approve" not in votes:
        text = f"is approve, with none of {len(votes)} votes for it, {votes.count('reject')} against"
        gaps.add(text) if "needs_change" not in votes else gaps.unnamed(text)
    elif "approve" not in votes:
        gaps.unnamed("no vote is for it")
    seen = set()
    for v in opinion["votes"]:
        if v["expert"] in seen:
            gaps.add(f"{v['expert']} votes twice")
        elif v["vote"] is not None and v["status"] not in ("ok", "abstained"):
            gaps.add(f"{v['expert']} has a vote and gave no answer ({v['status']})")
        seen.add(v["expert"])
    return None


def instant_gaps(story, p, gaps):
    begin, end = story.received - SKEW, instant(p["issued"], "issued") + SKEW
    times = [step[field] for step in p["steps"] for field in ("scheduled", "finished") if step[field] is not None]
    times += [each["at"] for each in p["gates"] + p["interventions"]]
    for text in times:
        at = instant(text, "at")
        if at < begin:
            gaps.add(f"{text} is before it was asked for, {p['received']}")
        elif at > end:
            gaps.add(f"{text} is after the certificate, {p['issued']}")
    for step, _, told in story.steps():
        if "scheduled" in told and "finished" in told and told["finished"] < told["scheduled"] - SKEW:
            gaps.add(f"step {step['id']} ended at {rfc3339(told['finished'])}, before it began")


# ---------------------------------------------------------------- all of it

def gaps_of(story, p):
    """What the promotion lacks, in the order of `missing`. STORY is what the journal tells, P the predicate."""
    gaps, spec, plan, back = Gaps(), story.spec, story.plan, story.mode == "rollback"
    if plan is None:
        gaps.add("there is no plan, so nothing can have been promoted by it")
        return gaps
    if plan.get("spec") != story.spec_digest or not equal(plan.get("target"), target_of(spec)):
        gaps.unnamed("the plan is not that of the spec")
    if plan.get("baseline") != story.baseline_digest:
        gaps.unnamed("the plan has another baseline")
    if back:
        through = [s["id"] for s in plan["steps"] if s["do"] in ("review", "pause", "analyse", "guard", "smoke")]
        if through:
            gaps.add(f"is called a way back, and the plan goes through gates: {through[0]}")
    step_gaps(story, gaps)
    for gate in p["gates"]:
        if gate["attempt"] == 0:
            gaps.add(f"gate {gate['gate']} is of attempt 0 of {gate['step']}, which there is not")
    people_gaps(story, gaps)
    finding_gaps(story, p, gaps)
    if back:
        if p["experts"]["opinion"] is not None:
            gaps.add("there is an opinion on a way back, which asks nobody")
    elif p["policy"]["experts"] == "require":
        opinion_gaps(p["experts"]["opinion"], gaps)
    instant_gaps(story, p, gaps)
    if p["observed"] is None:
        gaps.add("nobody looked at what runs")
    else:
        for difference in p["observed"]["differences"]:
            gaps.add(difference)
    for text in plan_gaps(spec, plan, story.baseline, back):
        gaps.add(text)
    gaps += story.signature_gaps
    if story.terms is not None and not story.went_on:
        gaps.add("signed approvals were waited for, and nothing says that it went on")
    for text in story.order.texts:
        gaps.add(text)
    if story.order.not_there() is not None:
        gaps.add(f"{story.order.not_there()} is not there")
    if story.expected_plan is not None and story.expected_plan.lower() != story.plan_digest:
        gaps.add(f"the plan is not the one that was asked for, {story.expected_plan}")
    if not back and p["policy"]["experts"] == "require" and story.advised is not None and story.advised_at < story.planned_at:
        gaps.add("the experts were told of an earlier plan")
    return gaps
