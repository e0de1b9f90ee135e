"""What a plan must have (docs/certificate.md, "What a plan must have"): the spec against the plan and what ran before."""
from certificate_base import equal, span
from story import revision

HOOKS = {"beforeDeploy": "execute", "beforePromotion": "verify", "afterPromotion": "finish"}


def strategy_of(spec, module):
    """Name and fields of how a module moves."""
    strategy = module.get("strategy") or spec.get("strategy") or {"rolling": {}}
    (name, fields), = strategy.items()
    return name, fields


def is_routed(spec, module):
    return module.get("expose") is not None or (spec["target"] == "process" and bool(module.get("ports")))


def shares(weights):
    """Weights without those of 0."""
    return {r: share for r, share in (weights or {}).items() if share != 0}


def is_analysis(step, name, new, old, analysis, background):
    return (step["do"] == "analyse" and step["module"] == name and step["revision"] == new and step.get("baseline") == old
            and equal(step["analysis"], analysis) and equal(step.get("background", False), background))


def wait(name, duration):
    """A pause of an order: whether a step is it, and its text."""
    text = f"no wait for promote of {name} in its place" if duration is None else f"no pause of {duration} of {name} in its place"
    return lambda step: step["do"] == "pause" and step.get("duration") == duration, text


def look(name, new, old, analysis):
    """An analysis of an order."""
    return lambda step: is_analysis(step, name, new, old, analysis, False), f"no analysis of {name} in its place"


def move(module, weights):
    """A set-weight of an order."""
    name, verify = module["name"], module.get("expose") is not None
    parts = ", ".join(f"{r} {weights[r]}%" for r in sorted(weights))
    return (lambda step: (step["do"] == "set-weight" and step["module"] == name and equal(shares(step.get("weights")), weights)
                          and equal(step.get("verify", False), verify)),
            f"no traffic of {name} to {parts} in its place")


def order_of(spec, module, new, old):
    """What the strategy of an updated module asks for, one after the other: (whether a step is it, text)."""
    kind, fields = strategy_of(spec, module)
    name, routed, out = module["name"], is_routed(spec, module), []
    if kind == "canary":
        for step in fields["steps"]:
            if "setWeight" in step:
                if routed:
                    out.append(move(module, shares({new: step["setWeight"], old: 100 - step["setWeight"]})))
            elif "analysis" in step:
                out.append(look(name, new, old, step["analysis"]))
            else:
                out.append(wait(name, (step["pause"] or {}).get("duration")))
        if routed:
            out.append(move(module, {new: 100}))
    elif kind == "blueGreen":
        if fields.get("prePromotion") is not None:
            out.append(look(name, new, old, fields["prePromotion"]))
        if not fields.get("autoPromote", True):
            out.append(wait(name, None))
        if routed:
            out.append(move(module, {new: 100}))
        if fields.get("postPromotion") is not None:
            out.append(look(name, new, old, fields["postPromotion"]))
    return out


def check_gaps(spec, steps, back):
    """Reviews, validations and hooks."""
    there = {(s["stage"], s["do"], s["agent"]) for s in steps}
    if not back:
        for agent in ("architect", "integrator", "security"):
            if ("check", "review", agent) not in there:
                yield f"the plan has no review by {agent}"
    for agent in ("validator",) if back else ("validator", "performance", "guardian"):
        if ("verify", "validate", agent) not in there:
            yield f"the plan has no validation by {agent}"
    for index, hook in enumerate(spec.get("hooks") or []):
        if not any(s["do"] == "hook" and equal(s["index"], index) and s["stage"] == HOOKS[hook["when"]] for s in steps):
            yield f"the plan has no hook {hook['name']} in its place"


def module_gaps(spec, module, new, old, steps):
    """What a new (OLD is None) or updated module asks for among the steps of `execute`."""
    name, (kind, fields) = module["name"], strategy_of(spec, module)
    if module.get("smoke"):
        traffic = [i for i, s in enumerate(steps)
                   if s["do"] == "set-weight" and s["module"] == name and new in shares(s.get("weights"))]
        before = steps[:traffic[0]] if traffic else steps
        if not any(s["do"] == "smoke" and s["module"] == name and s["revision"] == new for s in before):
            yield f"the plan has no smoke test of {name} before the traffic"
    if old is None:
        return
    analysis = module.get("analysis")
    if analysis is not None and kind != "recreate" and (kind != "canary" or any(s.get("setWeight", 0) > 0 for s in fields["steps"])):
        if not any(is_analysis(s, name, new, old, analysis, True) for s in steps):
            yield f"the plan has no analysis of {name} in the background"
    if kind in ("canary", "blueGreen"):
        if not any(s["do"] == "guard" and s["module"] == name and s["revision"] == new for s in steps):
            yield f"the plan has no guard of {name}"
    rest = iter(steps)
    for is_it, text in order_of(spec, module, new, old):
        if not any(is_it(s) for s in rest):
            yield f"the plan has {text}"
            return


def left_gaps(spec, before, steps):
    """What is left when all steps are done, against the release."""
    modules = {m["name"]: m for m in spec["modules"]}
    count, traffic = {}, {}
    for m in (before or {}).get("modules", []):
        count[m["name"], revision(m)] = m.get("replicas", 1)
        if is_routed(before, m):
            traffic[m["name"]] = {revision(m): 100}
    for s in steps:
        if s["stage"] == "rollback":
            continue
        name = s.get("module")
        if s["do"] == "scale":
            count[name, s["revision"]] = s["count"]
        elif s["do"] == "roll-batch":
            count[name, s["from"]] = s["old_count"]
            count[name, s["to"]] = s["new_count"]
            if name in modules and is_routed(spec, modules[name]):
                traffic[name] = {s["to"]: 100}
        elif s["do"] == "set-weight":
            traffic[name] = shares(s.get("weights"))
    for name, m in modules.items():
        new, replicas = revision(m), m.get("replicas", 1)
        if count.pop((name, new), 0) != replicas:
            yield f"the plan does not end with {replicas} \u00d7 {name} {new}"
        shared = traffic.pop(name, {})
        if not is_routed(spec, m):
            if shared:
                yield f"the plan does not end with no traffic to {name}"
        elif not equal(shared, {new: 100}):
            yield f"the plan does not end with traffic of {name} to {new} 100%"
    for (name, rev), n in sorted(count.items()):
        if n:
            yield f"the plan leaves {name} {rev}, which the spec does not have"
    for name, shared in sorted(traffic.items()):
        if shared:
            yield f"the plan leaves traffic to {name}, which the spec does not have"


def plan_gaps(spec, plan, before, back):
    """Texts of what the plan lacks. BEFORE is the spec of what ran, or None; BACK: it is a way back."""
    steps = plan["steps"]
    yield from check_gaps(spec, steps, back)
    old = {m["name"]: revision(m) for m in (before or {}).get("modules", [])}
    if not back:
        holds = []
        execute = [s for s in steps if s["stage"] == "execute"]
        for m in spec["modules"]:
            new, was = revision(m), old.get(m["name"])
            if was == new:
                continue
            yield from module_gaps(spec, m, new, was, execute)
            kind, fields = strategy_of(spec, m)
            if was is not None and kind == "blueGreen":
                holds.append(fields.get("hold", "30s"))
        longest = max(holds, key=lambda hold: span(hold, "hold"), default="0s")
        if span(longest, "hold") > 0 and not any(s["stage"] == "verify" and s["do"] == "pause" and s.get("duration") == longest for s in steps):
            yield f"the plan does not hold the old set for {longest}"
    yield from left_gaps(spec, before, steps)
