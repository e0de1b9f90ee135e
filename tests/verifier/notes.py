"""Signatures, signed notes, trust policies and proofs of the audit log, as docs/audit.md and the C2SP texts it names describe."""
import base64, binascii, hashlib, re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

ED25519, COSIGNER, MLDSA = 1, 4, 6


class Refused(Exception):
    def __init__(self, field, text):
        super().__init__(f"{field}: {text}")
        self.field, self.text = field, text


def refuse(field, text): raise Refused(field, text)


def public_key(algorithm, pem):
    try: key = load_pem_public_key(pem.encode())
    except ValueError as error: refuse("trust.keys", f"is no key: {error}")
    kinds = {"ecdsa-p256-sha256": ec.EllipticCurvePublicKey, "ml-dsa-65": mldsa.MLDSA65PublicKey}
    if not isinstance(key, kinds[algorithm]): refuse("trust.keys", "is a key of another kind")
    return key, hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def verify_signature(algorithm, key, signature, message):
    try:
        if algorithm == "ml-dsa-65": key.verify(signature, message)
        else: key.verify(signature, message, ec.ECDSA(SHA256()))
    except InvalidSignature: return False
    return True


def strict_base64(text, field):
    try: data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError): refuse(field, "is no base64")
    if base64.b64encode(data).decode() != text: refuse(field, "is no base64")
    return data


def decimal(text, field):
    if not re.fullmatch(r"0|[1-9][0-9]{0,19}", text) or int(text) >= 1 << 64: refuse(field, f"{text!r} is no number")
    return int(text)


class Note:
    """A signed checkpoint."""
    def __init__(self, text, field):
        self.field = field
        body, blank, lines = text.partition("\n\n")
        if not blank or not lines.endswith("\n"): refuse(field, "is no signed note")
        self.text, parts = body + "\n", body.split("\n")
        if len(parts) != 3: refuse(field, "is no checkpoint")
        self.origin, self.size, self.root = parts[0], decimal(parts[1], field), strict_base64(parts[2], field)
        if len(self.root) != 32 or not self.origin: refuse(field, "is no checkpoint")
        self.signatures = []
        for line in lines[:-1].split("\n"):
            found = re.fullmatch(r"— (\S+) (\S+)", line) or refuse(field, "is no signature of a note")
            data = strict_base64(found[2], field)
            if len(data) < 5: refuse(field, "is no signature of a note")
            self.signatures.append((found[1], data[:4], data[4:]))


class Key:
    def __init__(self, text, field):
        name, ident, data = (text.split("+", 2) + ["", ""])[:3]
        data = strict_base64(data, field)
        self.name, self.kind, self.bytes = name, data[0], data[1:]
        self.id = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
        if self.id.hex() != ident: refuse(field, f"the id of {name} is not its own")
        makers = {ED25519: ed25519.Ed25519PublicKey, COSIGNER: ed25519.Ed25519PublicKey, MLDSA: mldsa.MLDSA44PublicKey}
        if self.kind not in makers: refuse(field, f"the key of {name} is of an unknown kind")
        self.key = makers[self.kind].from_public_bytes(self.bytes)

    def signed(self, note):
        """Nothing when it did not; else the time in seconds, or none for a kind without a time."""
        mine = [data for name, ident, data in note.signatures if (name, ident) == (self.name, self.id)]
        if not mine: return None
        if len(mine) > 1: refuse(note.field, f"has two signatures of {self.name}")
        data, time = mine[0], None
        if self.kind == ED25519: message = note.text.encode()
        else:
            time, data = int.from_bytes(data[:8], "big"), data[8:]
            if self.kind == COSIGNER: message = f"cosignature/v1\ntime {time}\n{note.text}".encode()
            else:
                name, origin = self.name.encode(), note.origin.encode()
                message = (b"subtree/v1\n\0" + bytes([len(name)]) + name + time.to_bytes(8, "big") + bytes([len(origin)]) + origin
                           + bytes(8) + note.size.to_bytes(8, "big") + note.root)
        try: self.key.verify(data, message)
        except (InvalidSignature, ValueError): refuse(note.field, f"the signature of {self.name} does not fit")
        return {"time": time}


class Policy:
    """A tlog-policy."""
    def __init__(self, text):
        self.logs, self.witnesses, self.groups, self.quorum = [], {}, {}, ""
        for line in text.split("\n"):
            words = line.split()
            if not words or words[0].startswith("#"): continue
            if words[0] == "log": self.logs.append(Key(words[1], "trust.log"))
            elif words[0] == "witness": self.witnesses[words[1]] = Key(words[2], "trust.log")
            elif words[0] == "group":
                least = {"any": 1, "all": len(words) - 3}.get(words[2]) or int(words[2])
                self.groups[words[1]] = (least, words[3:])
            elif words[0] == "quorum": self.quorum = words[1]
            else: refuse("trust.log", f"{line!r} is no line of a policy")
        if not self.quorum or not self.logs: refuse("trust.log", "has no log or no quorum")

    def check(self, note, field):
        """When the last witness and when the log signed, in milliseconds."""
        own = [key for key in self.logs if key.name == note.origin]
        if not own: refuse(field, f"the log {note.origin} is not trusted")
        signed = [(key, key.signed(note)) for key in own]
        for kind in {key.kind for key in own}:
            if not any(found for key, found in signed if key.kind == kind): refuse(field, "lacks a signature of the log")
        seen = {name: key.signed(note) for name, key in self.witnesses.items()}
        def has(name):
            if name in self.groups: return sum(map(has, self.groups[name][1])) >= self.groups[name][0]
            return bool(seen.get(name))
        if self.quorum != "none" and not has(self.quorum): refuse(field, "lacks the quorum of witnesses")
        latest = lambda all: max((found["time"] * 1000 for found in all if found and found["time"] is not None), default=None)
        return latest(seen.values()), latest(found for _, found in signed)


def leaf_hash(entry): return hashlib.sha256(b"\0" + entry).digest()
def node_hash(left, right): return hashlib.sha256(b"\1" + left + right).digest()


def split(size):
    k = 1
    while k * 2 < size: k *= 2
    return k


def root_of(index, size, hash, path):
    """RFC 6962, section 2.1.1, the other way round."""
    if size == 1: return hash if not path else None
    if not path: return None
    k = split(size)
    if index < k:
        below = root_of(index, k, hash, path[:-1])
        return below and node_hash(below, path[-1])
    below = root_of(index - k, size - k, hash, path[:-1])
    return below and node_hash(path[-1], below)


class Proof:
    """A tlog-proof."""
    def __init__(self, text, field):
        self.field = field
        head, blank, rest = text.partition("\n\n")
        lines = head.split("\n")
        if not blank or lines[0] != "c2sp.org/tlog-proof@v1": refuse(field, "is no proof")
        # What nothing covers nobody may read anything into.
        if len(lines) < 2 or not lines[1].startswith("index "): refuse(field, "has no index")
        self.index = decimal(lines[1][6:], field)
        self.path = [strict_base64(line, field) for line in lines[2:]]
        if len(self.path) > 64 or any(len(hash) != 32 for hash in self.path): refuse(field, "has no path")
        self.note = Note(rest, field)

    def holds(self, entry):
        if self.index >= self.note.size: refuse(self.field, "is beyond the log")
        if root_of(self.index, self.note.size, leaf_hash(entry.encode()), self.path) != self.note.root:
            refuse(self.field, "does not lead to the root")
