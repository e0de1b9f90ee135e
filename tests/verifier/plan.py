"""What a plan must have (docs/certificate.md, "What a plan must have"): the spec against the plan and what ran before."""
from certificate_base import equal, span
from story import revision, what

HOOKS = {"beforeDeploy": "execute", "beforePromotion": "verify", "afterPromotion": "finish"}
STAGES = ("check", "execute", "verify", "finish", "rollback")


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


def move(module, weights, verify):
    """A set-weight of an order, without WEIGHTS the end of the traffic. VERIFY: of a module with `expose` it is verified."""
    name, verify = module["name"], verify and module.get("expose") is not None
    parts = ", ".join(f"{r} {weights[r]}%" for r in sorted(weights))
    return (lambda step: (step["do"] == "set-weight" and step["module"] == name and equal(step.get("weights") or {}, weights)
                          and equal(step.get("verify", False), verify)),
            f"no traffic of {name} to {parts} in its place" if weights else f"no end of the traffic of {name} in its place")


def trial_of(module, kind, fields, new, old):
    """What canary and blue-green ask for of an updated module."""
    name = module["name"]
    if kind == "canary":
        for step in fields["steps"]:
            if "setWeight" in step:
                yield "move", move(module, shares({new: step["setWeight"], old: 100 - step["setWeight"]}), True)
            elif "analysis" in step:
                yield "look", look(name, new, old, step["analysis"])
            else:
                yield "wait", wait(name, (step["pause"] or {}).get("duration"))
        yield "move", move(module, {new: 100}, True)
        return
    if fields.get("prePromotion") is not None:
        yield "look", look(name, new, old, fields["prePromotion"])
    if not fields.get("autoPromote", True):
        yield "wait", wait(name, None)
    yield "move", move(module, {new: 100}, True)
    if fields.get("postPromotion") is not None:
        yield "look", look(name, new, old, fields["postPromotion"])


def order_of(spec, module, new, old, back):
    """What is asked of a module ("Each module", 4.), one after the other: (its kind, (whether a step is it, text))."""
    kind, fields = strategy_of(spec, module)
    updated = old is not None and old != new
    if updated and not back and kind in ("canary", "blueGreen"):
        asked = list(trial_of(module, kind, fields, new, old))
    elif updated and kind == "recreate":
        asked = [("move", move(module, {}, False)), ("move", move(module, {new: 100}, False))]
    elif updated and not back:
        asked = []
    else:
        asked = [("move", move(module, {new: 100}, False))]
    return asked if is_routed(spec, module) else [each for each in asked if each[0] != "move"]


def revisions_of(step):
    """The revisions that a step names for its module."""
    do = step["do"]
    if do in ("scale", "guard", "smoke"):
        return [step["revision"]]
    if do == "analyse":
        return [step["revision"]] + ([] if step.get("baseline") is None else [step["baseline"]])
    if do == "set-weight":
        return sorted(step.get("weights") or {})
    if do == "roll-batch":
        return [step["from"], step["to"]]
    return []


def belongs(step, spec, new):
    """Whether a step belongs into its stage. NEW: the spec's revision of each of its modules."""
    do, stage = step["do"], step["stage"]
    if stage == "check":
        return do == "review"
    if stage == "execute":
        return do not in ("review", "validate", "certify")
    if stage == "verify":
        return do in ("validate", "pause", "guard", "hook")
    if stage == "finish" and do == "scale":
        return step["count"] == 0 and step["revision"] != new.get(step["module"])
    if stage == "finish" and do == "set-weight":
        return not step.get("weights") and not any(m["name"] == step["module"] and is_routed(spec, m) for m in spec["modules"])
    return stage == "finish" and do in ("hook", "certify")


def form_gaps(spec, steps, new, old):
    """The plan's form."""
    seen = set()
    for module in spec["modules"]:
        if module["name"] in seen:
            yield f"the spec has two modules {module['name']}"
        seen.add(module["name"])
    seen, before = set(), None
    for step in steps:
        name = f"step {step['id']}"
        if step["id"] in seen:
            yield f"the plan has two steps {step['id']}"
        seen.add(step["id"])
        if before is not None and (STAGES.index(step["stage"]) < STAGES.index(before["stage"]) or step["wave"] < before["wave"]):
            yield f"{name} stands behind steps that are done after it"
        before = step
        if not belongs(step, spec, new):
            yield f"{name} does not belong into the stage {step['stage']}"
        for rev in revisions_of(step):
            if rev not in (new.get(step["module"]), old.get(step["module"])):
                yield f"{name} is about {step['module']} {rev}, which neither release has"


def is_hook(step, index, hook):
    """Whether a step is the hook of this index. In an id of 63 characters its name may be cut."""
    if step["do"] != "hook" or not equal(step["index"], index) or step["stage"] != HOOKS[hook["when"]]:
        return False
    text = f"hook {hook['name']}"
    return what(step) == text or (len(step["id"]) == 63 and text.startswith(what(step)))


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
        if not any(is_hook(s, index, hook) for s in steps):
            yield f"the plan has no hook {hook['name']} in its place"


def serves(step, name, new):
    """Whether a step serves the module: gives its new revision a share, or rolls it."""
    if step["do"] == "set-weight":
        return step["module"] == name and new in shares(step.get("weights"))
    return step["do"] == "roll-batch" and step["module"] == name


def trial_gaps(spec, module, new, old, steps):
    """Smoke tests, analysis and guard of a new (OLD is None) or updated module, among the steps of `execute`."""
    name, (kind, fields) = module["name"], strategy_of(spec, module)
    served = [i for i, s in enumerate(steps) if serves(s, name, new)]
    if module.get("smoke"):
        nth = 1 if old is not None and kind == "rolling" and fields.get("maxSurge", 1) == 0 else 0
        before = steps[:served[nth]] if len(served) > nth else steps
        if not any(s["do"] == "smoke" and s["module"] == name and s["revision"] == new for s in before):
            yield f"the plan has no smoke test of {name} before the traffic"
    if old is None:
        return
    in_time = [s for s in steps if not served or s["wave"] <= steps[served[0]]["wave"]]
    analysis = module.get("analysis")
    if analysis is not None and kind != "recreate" and (kind != "canary" or any(s.get("setWeight", 0) > 0 for s in fields["steps"])):
        if not any(is_analysis(s, name, new, old, analysis, True) for s in in_time):
            yield f"the plan has no analysis of {name} in the background"
    if kind in ("canary", "blueGreen"):
        if not any(s["do"] == "guard" and s["module"] == name and s["revision"] == new for s in in_time):
            yield f"the plan has no guard of {name}"


def module_gaps(spec, module, new, old, steps, back):
    """What a module asks for among the steps of `execute` ("Each module")."""
    name, (kind, _) = module["name"], strategy_of(spec, module)
    if not back and new != old:
        yield from trial_gaps(spec, module, new, old, steps)
    asked, rest = order_of(spec, module, new, old, back), iter(steps)
    for _, (is_it, text) in asked:
        if not any(is_it(s) for s in rest):
            yield f"the plan has {text}"
            break
    mine = [s["do"] for s in steps if s.get("module") == name]
    if mine.count("set-weight") > sum(each == "move" for each, _ in asked):
        yield f"the plan moves the traffic of {name} more often than its strategy asks for"
    if "roll-batch" in mine and (back or old is None or old == new or kind != "rolling"):
        yield f"the plan rolls {name}, and its strategy does not"


def hold_gaps(spec, steps, new, old):
    """The longest hold of the modules that are updated by blue-green."""
    holds = []
    for m in spec["modules"]:
        kind, fields = strategy_of(spec, m)
        if kind == "blueGreen" and old.get(m["name"]) not in (None, revision(m)):
            holds.append(fields.get("hold", "30s"))
    longest = max(holds, key=lambda hold: span(hold, "hold"), default="0s")
    if span(longest, "hold") > 0 and not any(s["stage"] == "verify" and s["do"] == "pause" and s.get("duration") == longest for s in steps):
        yield f"the plan does not hold the old set for {longest}"


def left_gaps(spec, before, steps):
    """What is left when all steps are done, against the release."""
    modules = {m["name"]: m for m in spec["modules"]}
    count, traffic = {}, {}
    for m in (before or {}).get("modules", []):
        count[m["name"], revision(m)] = m.get("replicas", 1)
        if is_routed(before, m):
            traffic[m["name"]] = {revision(m): 100}
    for s in steps:
        name = s.get("module")
        if s["do"] == "scale":
            count[name, s["revision"]] = s["count"]
        elif s["do"] == "roll-batch":
            count[name, s["from"]] = s["old_count"]
            count[name, s["to"]] = s["new_count"]
            if name in modules and is_routed(spec, modules[name]):
                traffic[name] = {s["to"]: 100}
        elif s["do"] == "set-weight":
            traffic[name] = dict(s.get("weights") or {})
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
    new = {m["name"]: revision(m) for m in spec["modules"]}
    old = {m["name"]: revision(m) for m in (before or {}).get("modules", [])}
    yield from form_gaps(spec, steps, new, old)
    yield from check_gaps(spec, steps, back)
    execute = [s for s in steps if s["stage"] == "execute"]
    for m in spec["modules"]:
        yield from module_gaps(spec, m, revision(m), old.get(m["name"]), execute, back)
    if not back:
        yield from hold_gaps(spec, steps, new, old)
    yield from left_gaps(spec, before, steps)
