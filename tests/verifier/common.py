"""What both verifiers share: strict JSON, signed notes, tlog policies, Merkle proofs. From public standards only."""
import base64
import hashlib
import json
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa


class Bad(Exception):
    """Something that does not hold: which field, and why."""

    def __init__(self, field, why):
        super().__init__(f"{field}: {why}")
        self.field, self.why = field, why


def sha256(data):
    return hashlib.sha256(data).digest()


# ---------------------------------------------------------------- JSON

class Real(float):
    """A number with a point or an exponent; keeps its text."""
    text = ""

    def __new__(cls, text):
        self = super().__new__(cls, text)
        self.text = text
        return self


class Object(dict):
    """An object of a file: to ask for a field that is not there is the file's fault."""

    def __missing__(self, key):
        raise Bad(str(key), "is missing in an object that must have it")


def _object(pairs):
    out = Object()
    for key, value in pairs:
        if key in out:
            raise ValueError(f"the key {key!r} twice in one object")
        out[key] = value
    return out


def _real(text):
    value = Real(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text} is not finite")
    return value


def _constant(text):
    raise ValueError(f"{text} is no JSON")


def _int(text):
    if len(text) > 25:
        raise ValueError("a whole number with too many digits")
    if text == "-0":
        return Real(text)
    return int(text)


def _surrogates(value):
    if isinstance(value, str):
        if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
            raise ValueError("half a surrogate pair in a text")
    elif isinstance(value, dict):
        for k, v in value.items():
            _surrogates(k)
            _surrogates(v)
    elif isinstance(value, list):
        for v in value:
            _surrogates(v)


def read_json(data, field):
    """Strict JSON: UTF-8, each key once, finite numbers, whole characters."""
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = json.loads(text, object_pairs_hook=_object, parse_float=_real, parse_int=_int, parse_constant=_constant)
        _surrogates(value)
        return value
    except (ValueError, RecursionError) as error:
        raise Bad(field, f"is not read: {error}") from None


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _text(value):
    return '"' + "".join(_ESCAPES.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 0x20 else c) for c in value) + '"'


def canonical(value):
    """Sorted keys, no blanks. Numbers as they were written."""
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Real):
        return value.text
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        raise TypeError("a number of ours")
    if isinstance(value, list):
        return "[" + ",".join(canonical(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(_text(k) + ":" + canonical(value[k]) for k in sorted(value, key=lambda k: k.encode("utf-16-be"))) + "}"
    raise TypeError(type(value))


def read_canonical(data, field):
    value = read_json(data, field)
    raw = data if isinstance(data, bytes) else data.encode()
    if canonical(value).encode() != raw:
        raise Bad(field, "is not canonical (keys sorted, no blanks)")
    return value


def digest(value):
    return "sha256:" + hashlib.sha256(canonical(value).encode()).hexdigest()


def digest_text(text):
    return "sha256:" + hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def unbase64(text, field):
    """Standard Base64, with padding, in its only spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise Bad(field, f"is no base64: {error}") from None
    if base64.b64encode(data).decode() != text:
        raise Bad(field, "is base64 in another spelling")
    return data


# ---------------------------------------------------------------- signed notes

NAME = re.compile(r"[^\s+\x00-\x20\x7f]+")
SIZES = {1: 32, 4: 32, 6: 1312}


class Key:
    def __init__(self, text):
        parts = text.split("+", 2)
        if len(parts) != 3 or not NAME.fullmatch(parts[0]) or not re.fullmatch("[0-9a-f]{8}", parts[1]):
            raise Bad("policy", f"{text[:40]!r} is no verifier key")
        self.name = parts[0]
        raw = unbase64(parts[2], "policy")
        if not raw:
            raise Bad("policy", "an empty key")
        self.kind, self.raw = raw[0], raw[1:]
        if SIZES.get(self.kind) != len(self.raw):
            raise Bad("policy", f"key {self.name} is of kind {self.kind} with {len(self.raw)} bytes")
        self.id = sha256(self.name.encode() + b"\n" + raw)[:4]
        if self.id.hex() != parts[1]:
            raise Bad("policy", f"key {self.name} does not have the id {parts[1]}")
        if self.kind == 6:
            self.public = mldsa.MLDSA44PublicKey.from_public_bytes(self.raw)
        else:
            self.public = ed25519.Ed25519PublicKey.from_public_bytes(self.raw)

    def verify(self, signature, checkpoint):
        """The time that is signed, in seconds, or None for a signature without; raises Bad."""
        try:
            if self.kind == 1:
                self.public.verify(signature, checkpoint.text)
                return None
            if len(signature) < 8:
                raise Bad("checkpoint", f"the signature of {self.name} has no time")
            time, rest = int.from_bytes(signature[:8], "big"), signature[8:]
            if time >= 1 << 63:
                raise Bad("checkpoint", f"the time of {self.name} is beyond all times")
            if self.kind == 4:
                message = f"cosignature/v1\ntime {time}\n".encode() + checkpoint.text
            else:
                name, origin = self.name.encode(), checkpoint.origin.encode()
                if len(name) > 255 or len(origin) > 255:
                    raise Bad("checkpoint", "a name of more than 255 bytes")
                message = (b"subtree/v1\n\0" + bytes([len(name)]) + name + time.to_bytes(8, "big")
                           + bytes([len(origin)]) + origin + bytes(8) + checkpoint.size.to_bytes(8, "big") + checkpoint.root)
            self.public.verify(rest, message)
            return time
        except InvalidSignature:
            raise Bad("checkpoint", f"the signature of {self.name} (kind {self.kind}) is wrong") from None


class Checkpoint:
    """A signed note, read and not yet believed."""

    def __init__(self, data, field="checkpoint"):
        try:
            note = data.decode("utf-8") if isinstance(data, bytes) else data
        except UnicodeDecodeError:
            raise Bad(field, "is not UTF-8") from None
        if any(ord(c) < 0x20 and c != "\n" for c in note):
            raise Bad(field, "has a control character")
        cut = note.rfind("\n\n")
        if cut < 0 or not note.endswith("\n"):
            raise Bad(field, "is no signed note")
        text, signatures = note[:cut + 1], note[cut + 2:]
        self.text = text.encode()
        lines = text[:-1].split("\n")
        if len(lines) < 3 or not all(lines):
            raise Bad(field, "is no checkpoint of three lines")
        self.origin = lines[0]
        if not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1], re.ASCII) or int(lines[1]) >= 1 << 63:
            raise Bad(field, f"{lines[1]!r} is no size")
        self.size = int(lines[1])
        self.root = unbase64(lines[2], field)
        if len(self.root) != 32:
            raise Bad(field, "the root does not have 32 bytes")
        self.signatures = []
        if not signatures:
            raise Bad(field, "is not signed")
        for line in signatures[:-1].split("\n"):
            match = re.fullmatch("\u2014 ([^ ]+) ([A-Za-z0-9+/=]+)", line)
            if not match or not NAME.fullmatch(match[1]):
                raise Bad(field, "has a line that is no signature")
            raw = unbase64(match[2], field)
            if len(raw) < 5:
                raise Bad(field, "has a signature that is too short")
            self.signatures.append((match[1], raw[:4], raw[4:]))


class Policy:
    """C2SP tlog-policy."""

    def __init__(self, text):
        if any((ord(c) < 0x20 and c not in "\t\n") or c == "\x7f" for c in text):
            raise Bad("policy", "has a control character")
        self.logs, self.witnesses, self.groups, self.quorum = {}, {}, {}, None
        raws, members = set(), set()
        for number, line in enumerate(text.split("\n"), 1):
            words = [w for w in re.split("[ \t]+", line) if w]
            if not words or words[0].startswith("#"):
                continue
            where = f"line {number}"
            if words[0] == "log" and len(words) in (2, 3):
                key = Key(words[1])
                if key.raw in raws:
                    raise Bad("policy", f"{where}: a key twice")
                raws.add(key.raw)
                self.logs.setdefault(key.name, []).append(key)
            elif words[0] == "witness" and len(words) in (3, 4):
                key = Key(words[2])
                if key.kind not in (4, 6):
                    raise Bad("policy", f"{where}: a witness signs by kind 4 or 6")
                if key.raw in raws:
                    raise Bad("policy", f"{where}: a key twice")
                raws.add(key.raw)
                self._define(words[1], where)
                self.witnesses[words[1]] = key
            elif words[0] == "group" and len(words) >= 4:
                self._define(words[1], where)
                rest = words[3:]
                for name in rest:
                    if name not in self.witnesses and name not in self.groups:
                        raise Bad("policy", f"{where}: {name} is not defined")
                    if name in members:
                        raise Bad("policy", f"{where}: {name} is a member twice")
                    members.add(name)
                if words[2] == "all":
                    needed = len(rest)
                elif words[2] == "any":
                    needed = 1
                elif re.fullmatch("[1-9][0-9]*", words[2], re.ASCII):
                    needed = int(words[2])
                else:
                    raise Bad("policy", f"{where}: {words[2]!r} is no threshold")
                if needed > len(rest):
                    raise Bad("policy", f"{where}: {needed} of {len(rest)}")
                self.groups[words[1]] = (needed, rest)
            elif words[0] == "quorum" and len(words) == 2:
                if self.quorum is not None:
                    raise Bad("policy", f"{where}: a second quorum")
                if words[1] != "none" and words[1] not in self.witnesses and words[1] not in self.groups:
                    raise Bad("policy", f"{where}: {words[1]} is not defined")
                self.quorum = words[1]
            else:
                raise Bad("policy", f"{where} is not understood")
        if self.quorum is None:
            raise Bad("policy", "has no quorum")
        if not self.logs:
            raise Bad("policy", "names no log")

    def _define(self, name, where):
        if name == "none" or name in self.witnesses or name in self.groups:
            raise Bad("policy", f"{where}: the name {name} is taken")

    def met(self, signed, name=None):
        """Whether the quorum is met by the witnesses that are named."""
        name = name or self.quorum
        if name == "none":
            return True
        if name in self.witnesses:
            return name in signed
        needed, rest = self.groups[name]
        return sum(self.met(signed, member) for member in rest) >= needed

    def believe(self, checkpoint, field="checkpoint"):
        """Verifies a checkpoint. Gives (the log's own latest time or None, {witness: time})."""
        keys = self.logs.get(checkpoint.origin)
        if not keys:
            raise Bad(field, f"is of {checkpoint.origin!r}, a log that is not trusted")
        own, seen = [], {}
        done = set()
        for name, key_id, signature in checkpoint.signatures:
            for key in keys:
                if key.name == name and key.id == key_id:
                    try:
                        time = key.verify(signature, checkpoint)
                    except Bad as bad:
                        raise Bad(field, bad.why) from None
                    done.add(key.id)
                    if time:
                        own.append(time)
            for witness, key in self.witnesses.items():
                if key.name == name and key.id == key_id:
                    try:
                        time = key.verify(signature, checkpoint)
                    except Bad as bad:
                        raise Bad(field, bad.why) from None
                    seen[witness] = min(time, seen.get(witness, time))
        for kind in {key.kind for key in keys}:
            if not any(key.id in done for key in keys if key.kind == kind):
                raise Bad(field, f"the log {checkpoint.origin} did not sign with its key of kind {kind}")
        if not self.met(set(seen)):
            raise Bad(field, f"the witnesses that cosigned ({', '.join(sorted(seen)) or 'none'}) are no quorum")
        return (max(own) if own else None, seen)


# ---------------------------------------------------------------- Merkle trees (RFC 6962, RFC 9162)

def leaf_hash(data):
    return sha256(b"\0" + data)


def node_hash(left, right):
    return sha256(b"\1" + left + right)


def root_of(hashes):
    """RFC 6962 MTH over hashes of leaves, by joining full subtrees."""
    if not hashes:
        return sha256(b"")
    stack = []
    for h in hashes:
        size = 1
        while stack and stack[-1][0] == size:
            h = node_hash(stack.pop()[1], h)
            size *= 2
        stack.append((size, h))
    h = stack.pop()[1]
    while stack:
        h = node_hash(stack.pop()[1], h)
    return h


def inclusion_root(index, size, leaf, path, field):
    """RFC 9162, 2.1.3.2."""
    if index >= size:
        raise Bad(field, f"index {index} is beyond the size {size}")
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            raise Bad(field, "the path is too long")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            if not fn & 1:
                while fn and not fn & 1:
                    fn >>= 1
                    sn >>= 1
        else:
            r = node_hash(r, p)
        fn >>= 1
        sn >>= 1
    if sn != 0:
        raise Bad(field, "the path is too short")
    return r


class Proof:
    """C2SP tlog-proof."""

    def __init__(self, text, field):
        self.field = field
        head, blank, note = text.partition("\n\n")
        if not blank:
            raise Bad(field, "is no tlog-proof")
        lines = head.split("\n")
        if lines[0] != "c2sp.org/tlog-proof@v1":
            raise Bad(field, "does not begin as a tlog-proof")
        del lines[0]
        self.extra = bool(lines) and lines[0].startswith("extra ")
        if self.extra:
            unbase64(lines[0][6:], field)
            del lines[0]
        match = re.fullmatch("index (0|[1-9][0-9]{0,18})", lines[0] if lines else "", re.ASCII)
        if not match:
            raise Bad(field, "has no index")
        self.index = int(match[1])
        self.path = [unbase64(line, field) for line in lines[1:]]
        if any(len(p) != 32 for p in self.path):
            raise Bad(field, "has a hash that does not have 32 bytes")
        self.checkpoint = Checkpoint(note, field)

    def check(self, entry):
        root = inclusion_root(self.index, self.checkpoint.size, leaf_hash(entry.encode()), self.path, self.field)
        if root != self.checkpoint.root:
            raise Bad(self.field, f"the entry is not at {self.index} below the signed root")
