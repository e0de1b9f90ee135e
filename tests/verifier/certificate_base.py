"""Parts of the certificate verifier that need no certificate to be seen: trust, envelopes, times, limits, matching."""
import calendar
import datetime
import decimal
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa

from common import Bad, Policy, canonical, read_json, unbase64

SKEW = 5 * 60 * 1000


def exact(value, fields, where, optional=()):
    """VALUE is an object with exactly these fields."""
    if not isinstance(value, dict):
        raise Bad(where, "is no object")
    for field in fields:
        if field not in value:
            raise Bad(f"{where}.{field}", "is missing")
    for field in value:
        if field not in fields and field not in optional:
            raise Bad(f"{where}.{field}", "is not known")
    return value


def equal(a, b):
    """Equality of JSON values; a truth value is no number."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def differ(said, told, where):
    """Raises Bad at the first place where what is said is not what is told."""
    if isinstance(said, dict) and isinstance(told, dict):
        for key in sorted(said.keys() | told.keys()):
            if key not in said:
                raise Bad(f"{where}.{key}", "is missing")
            if key not in told:
                raise Bad(f"{where}.{key}", "is not known")
            differ(said[key], told[key], f"{where}.{key}")
    elif isinstance(said, list) and isinstance(told, list):
        for i, (a, b) in enumerate(zip(said, told)):
            differ(a, b, f"{where}[{i}]")
        if len(said) != len(told):
            raise Bad(where, f"has {len(said)} entries, the journal tells {len(told)}")
    elif not equal(said, told):
        raise Bad(where, f"says {short(said)}, the journal tells {short(told)}")


def short(value):
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "…"


# ---------------------------------------------------------------- times

def instant(text, where):
    """RFC 3339 in UTC with milliseconds, as milliseconds since 1970."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text, re.ASCII):
        raise Bad(where, f"{text!r} is no instant in UTC with milliseconds")
    try:
        parsed = datetime.datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        raise Bad(where, f"{text!r} is no instant") from None
    return calendar.timegm(parsed.timetuple()) * 1000 + int(text[20:23])


def rfc3339(ms):
    base = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=ms)
    return base.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


UNITS = {"ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
WORDS = {"day": "d", "days": "d", "min": "m", "mins": "m", "sec": "s", "secs": "s", "hour": "h", "hours": "h", "month": None,
         "months": None, "year": None, "years": None, "week": "w", "weeks": "w"}


def span(text, where):
    """A span of time, in milliseconds."""
    if not isinstance(text, str) or not re.fullmatch(r"(\d+ ?[a-z]+ ?)+", text, re.ASCII):
        raise Bad(where, f"{text!r} is no span of time")
    total = 0
    for number, unit in re.findall(r"(\d+) ?([a-z]+)", text, re.ASCII):
        unit = WORDS.get(unit, unit)
        if unit == "w":
            total += int(number) * 7 * UNITS["d"]
        elif unit in UNITS:
            total += int(number) * UNITS[unit]
        elif unit in ("month", "months", "M"):
            total += int(number) * 2_630_016_000
        elif unit in ("year", "years", "y"):
            total += int(number) * 31_557_600_000
        else:
            raise Bad(where, f"{text!r} is no span of time")
    return total


# ---------------------------------------------------------------- numbers and limits

def plain(value):
    """A number as the statement's texts write it: no exponent, no needless digits."""
    text = format(decimal.Decimal(repr(value if isinstance(value, int) else float(value))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def four(value):
    """At most four digits behind the point."""
    text = f"{float(value):.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def condition(text, where):
    """`< 0.05`, `in 1..5`: a test of a number."""
    match = re.fullmatch(r"\s*(<=|>=|==|<|>)\s*(-?[0-9.eE+-]+)\s*", text)
    if match:
        limit = float(match[2])
        return {"<": lambda v: v < limit, "<=": lambda v: v <= limit, ">": lambda v: v > limit, ">=": lambda v: v >= limit,
                "==": lambda v: v == limit}[match[1]]
    match = re.fullmatch(r"\s*in\s+(-?[0-9.eE+-]*?[0-9])\.\.(-?[0-9.eE+-]+)\s*", text)
    if match:
        low, high = float(match[1]), float(match[2])
        return lambda v: low <= v <= high
    raise Bad(where, f"{text!r} is no condition")


# ---------------------------------------------------------------- who has each place

def free_places(places, people):
    """Which places (each a set of names) stay free: to people by their names, to each the first that is free or whose holder can move."""
    holders = {}

    def seat(person, tried):
        for i, allowed in enumerate(places):
            if person in allowed and i not in tried:
                tried.add(i)
                if i not in holders or seat(holders[i], tried):
                    holders[i] = person
                    return True
        return False

    for person in sorted(people):
        seat(person, set())
    return [i for i in range(len(places)) if i not in holders]


# ---------------------------------------------------------------- trust and envelopes

class TrustKey:
    def __init__(self, value, where):
        exact(value, ("id", "algorithm", "publicKey", "validFrom", "validUntil", "revoked"), where)
        self.id, self.algorithm = value["id"], value["algorithm"]
        try:
            self.key = serialization.load_pem_public_key(value["publicKey"].encode())
        except (ValueError, AttributeError) as error:
            raise Bad(f"{where}.publicKey", f"is no public key: {error}") from None
        spki = self.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        if hashlib.sha256(spki).hexdigest() != self.id:
            raise Bad(f"{where}.id", "is not the SHA-256 of the key")
        if self.algorithm == "ecdsa-p256-sha256":
            ok = isinstance(self.key, ec.EllipticCurvePublicKey) and self.key.curve.name == "secp256r1"
        elif self.algorithm == "ml-dsa-65":
            ok = isinstance(self.key, mldsa.MLDSA65PublicKey)
        else:
            raise Bad(f"{where}.algorithm", f"{self.algorithm!r} is not known")
        if not ok:
            raise Bad(f"{where}.algorithm", f"the key is none for {self.algorithm}")
        self.start = instant(value["validFrom"], f"{where}.validFrom")
        self.end = None if value["validUntil"] is None else instant(value["validUntil"], f"{where}.validUntil")
        self.revoked = None if value["revoked"] is None else instant(value["revoked"], f"{where}.revoked")

    def verify(self, signature, message, where):
        try:
            if self.algorithm == "ecdsa-p256-sha256":
                self.key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            else:
                self.key.verify(signature, message)
        except InvalidSignature:
            raise Bad(where, f"is no signature of {self.id[:12]} ({self.algorithm})") from None


class Trust:
    def __init__(self, data):
        value = exact(read_json(data, "trust"), ("keys", "log"), "trust")
        if not isinstance(value["keys"], list):
            raise Bad("trust.keys", "is no list")
        self.keys = {}
        for i, key in enumerate(value["keys"]):
            key = TrustKey(key, f"trust.keys[{i}]")
            if key.id in self.keys:
                raise Bad("trust.keys", f"{key.id} stands there twice")
            self.keys[key.id] = key
        self.log = None if value["log"] is None else Policy(value["log"])


def pae(kind, body):
    kind = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def open_envelope(envelope, algorithms, trust, where):
    """Verifies a DSSE envelope with exactly these signatures. Gives the payload's bytes and the keys."""
    exact(envelope, ("payload", "payloadType", "signatures"), where)
    if envelope["payloadType"] != "application/vnd.in-toto+json":
        raise Bad(f"{where}.payloadType", f"is {envelope['payloadType']!r}")
    payload = unbase64(envelope["payload"], f"{where}.payload")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != len(algorithms):
        raise Bad(f"{where}.signatures", f"are not exactly {len(algorithms)}")
    keys = []
    for i, (signature, algorithm) in enumerate(zip(signatures, algorithms)):
        here = f"{where}.signatures[{i}]"
        exact(signature, ("keyid", "sig"), here)
        key = trust.keys.get(signature["keyid"]) if isinstance(signature["keyid"], str) else None
        if key is None:
            raise Bad(f"{here}.keyid", f"{short(signature['keyid'])} is no key of the trust file")
        if key.algorithm != algorithm:
            raise Bad(f"{here}.keyid", f"is a key for {key.algorithm} and not for {algorithm}")
        key.verify(unbase64(signature["sig"], f"{here}.sig"), pae(envelope["payloadType"], payload), f"{here}.sig")
        keys.append(key)
    return payload, keys
