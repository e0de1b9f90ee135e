#!/usr/bin/env python3
"""Checks an exported certificate with software that is not ours: securesystemslib (DSSE), sigstore-models (bundle),
in-toto-attestation (statement), cryptography (ECDSA, ML-DSA, encrypted PKCS#8).

certificate.py FOLDER            everything that `codectl certificate export` wrote there
certificate.py FOLDER KEYS WORD  also that the private keys below KEYS open with the passphrase WORD
"""
import base64, hashlib, json, sys
from copy import deepcopy
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key, load_pem_public_key
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from sigstore_models.bundle.v1 import Bundle

folder = Path(sys.argv[1])


def sha256(data): return hashlib.sha256(data).hexdigest()
def canonical(value): return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def say(text): print("ok  ", text)


def check(held, text):
    if not held: sys.exit(f"FAIL {text}")
    say(text)


# The keys, named by the SHA-256 of their SubjectPublicKeyInfo.
keys = {}
for file in sorted((folder / "trust").glob("*.pub")):
    key = load_pem_public_key(file.read_bytes())
    keys[sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))] = (key, file.read_text())
check({type(key).__name__ for key, _ in keys.values()} >= {"ECPublicKey", "MLDSA65PublicKey"}, f"{len(keys)} public keys")

# The bundle, by Sigstore's own model of it.
text = (folder / "deployment.sigstore.json").read_text()
bundle = Bundle.from_json(text)
check(bundle.media_type == "application/vnd.dev.sigstore.bundle.v0.3+json", "sigstore-models reads the bundle")
raw = json.loads(text)["dsseEnvelope"]
check(len(raw["signatures"]) == 1, "the bundle has exactly one signature")
hint = json.loads(text)["verificationMaterial"]["publicKey"]["hint"]
check(base64.b64decode(hint).hex() == raw["signatures"][0]["keyid"], "its hint is the key's fingerprint")
check(bundle.dsse_envelope.payload == base64.b64decode(raw["payload"]) or bundle.dsse_envelope.payload == raw["payload"].encode(),
      "sigstore-models sees the same payload")


def ecdsa_key(keyid): return SSlibKey(keyid, "ecdsa", "ecdsa-sha2-nistp256", {"public": keys[keyid][1]})


def pae(kind, body): return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)


def refuses(envelope, key, what):
    try: Envelope.from_dict(deepcopy(envelope)).verify([key], 1)
    except VerificationError: return say(f"securesystemslib refuses {what}")
    sys.exit(f"FAIL securesystemslib takes {what}")


# Both envelopes, by securesystemslib; the second signature by cryptography.
vsa = json.loads((folder / "vsa.dsse.json").read_text())
for name, envelope in [("the bundle's envelope", raw), ("the summary's envelope", vsa)]:
    keyid = envelope["signatures"][0]["keyid"]
    found = Envelope.from_dict(deepcopy(envelope)).verify([ecdsa_key(keyid)], 1)
    check(keyid in found, f"securesystemslib verifies {name}")
    body = bytearray(base64.b64decode(envelope["payload"]))
    for at in range(0, len(body), max(1, len(body) // 25)):
        body[at] ^= 1
        changed = dict(envelope, payload=base64.b64encode(bytes(body)).decode())
        body[at] ^= 1
        try: Envelope.from_dict(deepcopy(changed)).verify([ecdsa_key(keyid)], 1)
        except VerificationError: continue
        sys.exit(f"FAIL byte {at} of {name} may be changed")
    refuses(dict(envelope, payloadType="text/plain"), ecdsa_key(keyid), f"{name} with another type")

check(len(vsa["signatures"]) == 2, "the summary has two signatures")
second = vsa["signatures"][1]
body = base64.b64decode(vsa["payload"])
keys[second["keyid"]][0].verify(base64.b64decode(second["sig"]), pae(vsa["payloadType"], body))
say("cryptography verifies the ML-DSA-65 signature")
try:
    keys[second["keyid"]][0].verify(base64.b64decode(second["sig"]), pae(vsa["payloadType"], body + b" "))
    sys.exit("FAIL the ML-DSA-65 signature fits another payload")
except InvalidSignature: say("cryptography refuses it for another payload")

# Both statements, by in-toto.
deployment, summary = json.loads(base64.b64decode(raw["payload"])), json.loads(body)
for name, statement in [("the deployment", deployment), ("the summary", summary)]:
    Statement.copy_from_pb(ParseDict(statement, statement_pb2.Statement())).validate()
    say(f"in-toto-attestation validates the statement of {name}")
check(deployment["subject"] == summary["subject"], "both are about the same subjects")

# What cosign compares: the digest of the file it is given is one of the subjects.
digests = {subject["digest"]["sha256"] for subject in deployment["subject"]}
for name in ["plan.json", "spec.json"]:
    if (folder / name).exists():
        check(sha256((folder / name).read_bytes()) in digests, f"{name} is a subject")

# What ties the two together, recomputed.
named = summary["predicate"]["inputAttestations"][0]["digest"]["sha256"]
check(named == sha256(canonical(raw)), "the summary names the digest of the deployment's envelope")
result, ending = summary["predicate"]["verificationResult"], deployment["predicate"]["ending"]
mode = deployment["predicate"]["mode"]
check((result == "PASSED") == (ending == "PROMOTED" and mode == "apply"), f"{ending} ({mode}) is {result}")

if len(sys.argv) > 2:
    opened = 0
    for file in Path(sys.argv[2]).glob("*.key.pem"):
        key = load_pem_private_key(file.read_bytes(), sys.argv[3].encode())
        kind = (ec.EllipticCurvePrivateKey, mldsa.MLDSA65PrivateKey)
        check(isinstance(key, kind), f"cryptography opens the {type(key).__name__}")
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        check(sha256(public) in keys, "its public half is a trusted key")
        try: load_pem_private_key(file.read_bytes(), b"wrong")
        except ValueError: opened += 1
    check(opened == 2, "neither key opens with another passphrase")
