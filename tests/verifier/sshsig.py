"""OpenSSH signatures (PROTOCOL.sshsig, PROTOCOL.u2f) and lines of allowed_signers, as far as docs/approvals.md allows them."""
import base64
import calendar
import datetime
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from common import Bad, unbase64

KINDS = {"ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"}


class Reader:
    def __init__(self, data, field):
        self.data, self.at, self.field = data, 0, field

    def take(self, count):
        if self.at + count > len(self.data):
            raise Bad(self.field, "an SSH structure ends too early")
        out = self.data[self.at:self.at + count]
        self.at += count
        return out

    def number(self):
        return int.from_bytes(self.take(4), "big")

    def string(self):
        return self.take(self.number())

    def end(self):
        if self.at != len(self.data):
            raise Bad(self.field, "bytes behind an SSH structure")


def string(data):
    return len(data).to_bytes(4, "big") + data


class PublicKey:
    def __init__(self, blob, field):
        self.blob = blob
        r = Reader(blob, field)
        self.kind = r.string().decode("ascii", "replace")
        if self.kind not in KINDS:
            raise Bad(field, f"keys of kind {self.kind!r} are not taken")
        self.application = None
        try:
            if "ed25519" in self.kind:
                raw = r.string()
                self.key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
            else:
                if r.string() != b"nistp256":
                    raise Bad(field, "another curve")
                self.key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), r.string())
        except ValueError as error:
            raise Bad(field, f"is no key: {error}") from None
        if self.kind.startswith("sk-"):
            self.application = r.string()
        r.end()

    def raw_verify(self, inner, message, field):
        try:
            if "ed25519" in self.kind:
                self.key.verify(inner, message)
            else:
                r = Reader(inner, field)
                numbers = []
                for _ in range(2):
                    raw = r.string()
                    if not raw or raw[0] & 0x80 or (len(raw) > 1 and raw[0] == 0 and not raw[1] & 0x80):
                        raise Bad(field, "a number in another spelling")
                    numbers.append(int.from_bytes(raw, "big"))
                r.end()
                self.key.verify(encode_dss_signature(*numbers), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise Bad(field, "the signature is wrong") from None

    def verify(self, signature, message, verified, field):
        r = Reader(signature, field)
        if r.string().decode("ascii", "replace") != self.kind:
            raise Bad(field, "the signature is of another kind than its key")
        inner = r.string()
        if self.application is None:
            r.end()
            return self.raw_verify(inner, message, field)
        flags, counter = r.take(1), r.take(4)
        r.end()
        if not flags[0] & 1:
            raise Bad(field, "the hardware key was not touched")
        if verified and not flags[0] & 4:
            raise Bad(field, "the hardware key asked for no PIN")
        digest = lambda data: hashlib.sha256(data).digest()
        return self.raw_verify(inner, digest(self.application) + flags + counter + digest(message), field)


def verify_sshsig(armored, message, namespace, verified, field):
    """Verifies an armored signature; gives the blob of the key that made it."""
    match = re.fullmatch(r"-----BEGIN SSH SIGNATURE-----\r?\n((?:[A-Za-z0-9+/=]+\r?\n)+)-----END SSH SIGNATURE-----\r?\n?", armored)
    if not match:
        raise Bad(field, "is no SSH signature")
    r = Reader(unbase64(re.sub(r"\s", "", match[1]), field), field)
    if r.take(6) != b"SSHSIG" or r.number() != 1:
        raise Bad(field, "is no SSH signature of version 1")
    blob, name, reserved, algorithm, signature = r.string(), r.string(), r.string(), r.string(), r.string()
    r.end()
    if name != namespace.encode():
        raise Bad(field, f"is made in the namespace {name.decode('utf-8', 'replace')!r}")
    if reserved:
        raise Bad(field, "has something reserved")
    if algorithm not in (b"sha256", b"sha512"):
        raise Bad(field, "has another hash")
    hashed = hashlib.new(algorithm.decode(), message).digest()
    signed = b"SSHSIG" + string(name) + string(reserved) + string(algorithm) + string(hashed)
    PublicKey(blob, field).verify(signature, signed, verified, field)
    return blob


def ssh_time(text, field):
    """YYYYMMDD[HHMM[SS]]Z in seconds."""
    for form in ("%Y%m%dZ", "%Y%m%d%H%MZ", "%Y%m%d%H%M%SZ"):
        if len(text) == {"%Y%m%dZ": 9, "%Y%m%d%H%MZ": 13, "%Y%m%d%H%M%SZ": 15}[form] and re.fullmatch("[0-9]+Z", text, re.ASCII):
            try:
                return calendar.timegm(datetime.datetime.strptime(text, form).timetuple())
            except ValueError:
                break
    raise Bad(field, f"{text!r} is no time in UTC")


class Signer:
    """A line of allowed_signers."""

    def __init__(self, line, field):
        match = re.fullmatch(r'(\S+)[ \t]+(?:((?:[a-z-]+="[^"]*")(?:,[a-z-]+="[^"]*")*)[ \t]+)?(\S+)[ \t]+(\S+)(?:[ \t]+(.*))?', line.strip(" \t"))
        if not match:
            raise Bad(field, "is no line of allowed_signers")
        self.name = match[1].strip('"')
        if re.search(r"[,*?!]", self.name):
            raise Bad(field, "names several people")
        self.namespaces, self.after, self.before = None, None, None
        seen = set()
        for option in re.findall(r'([a-z-]+)="([^"]*)"', match[2] or ""):
            if option[0] in seen:
                raise Bad(field, f"the option {option[0]} twice")
            seen.add(option[0])
            if option[0] == "namespaces":
                self.namespaces = option[1].split(",")
                if any(re.search(r"[*?!]", n) for n in self.namespaces):
                    raise Bad(field, "a pattern of namespaces")
            elif option[0] == "valid-after":
                self.after = ssh_time(option[1], field)
            elif option[0] == "valid-before":
                self.before = ssh_time(option[1], field)
            else:
                raise Bad(field, f"the option {option[0]} is not taken")
        self.key = PublicKey(unbase64(match[4], field), field)
        if self.key.kind != match[3]:
            raise Bad(field, "the key is of another kind")

    def in_force(self, namespace, at_ms):
        return ((self.namespaces is None or namespace in self.namespaces)
                and (self.after is None or at_ms >= self.after * 1000) and (self.before is None or at_ms <= self.before * 1000))
