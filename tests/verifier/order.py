"""Whether a deployment went straight on (docs/certificate.md, "The order of a promotion")."""
from approvals import person
from certificate_base import SKEW, equal, span
from common import digest

FIVE = ("lock_awaited", "locked", "execution_began", "verification_began", "promoted")
LOCK_AWAITED, LOCKED, EXECUTION_BEGAN = 1, 2, 3                  # so many of the five are passed then
TIME_FOR = {"check": 0, "execute": 3, "verify": 4}               # so many are passed while it is time for the stage
ASTRAY = {"rollback_began": "it had begun to turn back", "rolled_back": "it had been rolled back",
          "human_needed": "it had come to where a human must look"}


class Order:
    """Hears the events one after the other, and keeps where they were out of order: each text once."""

    def __init__(self):
        self.passed = 0              # of the five
        self.texts = []
        self.plan = self.plan_digest = self.token = None
        self.advised = self.promote_requested = False
        self.begun = {}              # (step, attempt) -> when it was scheduled last

    def astray(self, text):
        if text not in self.texts:
            self.texts.append(text)

    def not_there(self):
        """The first of the five that was not passed, or None."""
        return FIVE[self.passed] if self.passed < len(FIVE) else None

    def hear(self, e, at, terms):
        """AT: of its record; TERMS: whether some are in force before this event."""
        kind = e["event"]
        if at == 0:
            self.astray("a record has no time")
        if kind in FIVE:
            if kind == self.not_there():
                self.passed += 1
            else:
                self.astray(f"{kind} is not in its place")
        if kind == "locked":
            self.token = e["token"]
        elif kind == "planned":
            self.planned(e["plan"], terms)
        elif kind == "advised":
            if self.advised or self.passed >= LOCK_AWAITED:
                self.astray("the experts were heard again, or too late")
            self.advised = True
        elif kind == "approval_awaited":
            self.asked("approvals were waited for")
        elif kind in ("approved", "denied"):
            self.asked(f"{person(e['by'])} decided")
        elif kind in ("step_scheduled", "step_finished"):
            for step in self.plan["steps"] if self.plan is not None else []:
                if step["id"] == e["step"] and step["stage"] in TIME_FOR:
                    self.step(step, e, at)
            if kind == "step_scheduled":
                self.begun[e["step"], e["attempt"]] = at
        elif kind == "promote_requested":
            self.promote_requested = True
        elif kind in ASTRAY:
            self.astray(ASTRAY[kind])
        elif kind in ("decided", "closed") and (e["verdict"] != "promoted" or e.get("cause") is not None):
            self.astray("it was decided otherwise")

    def planned(self, plan, terms):
        now = digest(plan)
        if self.plan is not None and now != self.plan_digest:
            if self.passed >= EXECUTION_BEGAN:
                self.astray("it was planned anew when its execution had begun")
            elif terms:
                self.astray("it was planned anew when signatures were waited for")
        self.plan, self.plan_digest = plan, now

    def asked(self, what):
        if self.plan is None:
            self.astray(f"{what} before there was a plan")
        elif self.passed >= LOCK_AWAITED:
            self.astray(f"{what} when it had gone on")

    def step(self, step, e, at):
        """A step of the plan in force, of checking, executing or verifying, is scheduled or finished."""
        name, attempt = f"step {step['id']}", (e["step"], e["attempt"])
        if self.passed != TIME_FOR[step["stage"]]:
            self.astray(f"{name} was not done while it was time to {step['stage']}")
        if e["event"] == "step_scheduled":
            if self.passed >= LOCKED and not equal((e["fence"] or {}).get("lock"), self.token):
                self.astray(f"{name} was begun under another lock")
            if attempt in self.begun:
                self.astray(f"{name} was begun twice as attempt {e['attempt']}")
            return
        if e["result"]["outcome"] == "failed":
            self.astray(f"{name} had failed")
        if step["do"] == "pause" and e["result"].get("skippedBy") is None and not self.promote_requested:
            duration, began = step.get("duration"), self.begun.get(attempt)
            if duration is None or began is None or at - began < span(duration, f"{name}.duration") - SKEW:
                self.astray(f"{name} ended before its time, and nobody promoted it")
