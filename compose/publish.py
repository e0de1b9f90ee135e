#!/usr/bin/env python3
"""Asks for a deployment the way any program can: one CloudEvent over plain NATS, no client library.

usage: publish.py SERVERS NAME KEY SPEC ID    SERVERS is host:port,host:port,…   NAME and KEY are what
`codectl access publisher add NAME --to KEY` gave   ID is unique within the source

Signs what the server asks for with openssl, which must be installed. Prints the engine's answer, one JSON object, and ends with 0; 1 when it says no or nobody answers in 20 s.
The same ID asks for the same deployment, so sending it again is safe.
"""

import base64
import json
import secrets
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = 20.0  # seconds


def event(spec: str, identity: str) -> bytes:
    return json.dumps({
        "specversion": "1.0",
        "id": identity,
        "source": "/compose-test",
        "type": "code.deployment.submit",
        "datacontenttype": "application/yaml",
        "data": spec,
    }).encode()


def crc16(data: bytes) -> int:
    """As NATS writes it behind a key: CRC-16/XMODEM."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


class Key:
    """An Ed25519 key as NATS writes it: SU and the seed in base32, with a checksum behind it."""

    def __init__(self, path: str):
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
        if crc16(raw[:-2]) != int.from_bytes(raw[-2:], "little") or raw[0] & 0xF8 != 18 << 3:
            raise SystemExit(f"publish: {path} holds no NATS seed (SU…)")
        self.seed = raw[2:-2]

    def sign(self, nonce: bytes) -> tuple[str, str]:
        """The public key and the signature, as CONNECT carries them."""
        with tempfile.NamedTemporaryFile() as private, tempfile.NamedTemporaryFile() as asked:
            private.write(bytes.fromhex("302e020100300506032b657004220420") + self.seed)
            private.flush()
            asked.write(nonce)
            asked.flush()
            public = openssl("pkey", "-inform", "DER", "-in", private.name, "-pubout", "-outform", "DER")[-32:]
            signed = openssl("pkeyutl", "-sign", "-keyform", "DER", "-inkey", private.name, "-rawin", "-in", asked.name)
        public = bytes([20 << 3]) + public
        public += crc16(public).to_bytes(2, "little")
        return base64.b32encode(public).decode().rstrip("="), base64.urlsafe_b64encode(signed).decode().rstrip("=")


def ask(address: str, name: str, key: Key, body: bytes) -> dict:
    """One request over the NATS protocol: CONNECT, SUB to the answer's subject, HPUB, then read."""
    host, port = address.rsplit(":", 1)
    subject = f"code.v1.in.{name}.deployment.submit"
    inbox = f"_INBOX.publisher-{name}.{secrets.token_hex(8)}"
    head = b"NATS/1.0\r\nContent-Type: application/cloudevents+json\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as stream:
        lines = stream.makefile("rb")
        greeting = lines.readline()
        if not greeting.startswith(b"INFO "):
            raise OSError(f"{address} is no NATS server")
        public, signed = key.sign(json.loads(greeting[5:])["nonce"].encode())
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "name": "publish.py",
                   "lang": "python", "version": "1", "nkey": public, "sig": signed}
        stream.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\nSUB " + inbox.encode() + b" 1\r\n"
                       + f"HPUB {subject} {inbox} {len(head)} {len(head) + len(body)}\r\n".encode()
                       + head + body + b"\r\n")
        while line := lines.readline():
            words = line.split()
            if words[:1] == [b"PING"]:
                stream.sendall(b"PONG\r\n")
            elif words[:1] == [b"-ERR"]:
                raise OSError(line.decode().strip())
            elif words[:1] in ([b"MSG"], [b"HMSG"]):
                payload = lines.read(int(words[-1]) + 2)[:-2]
                payload = payload[int(words[-2]):] if words[0] == b"HMSG" else payload
                answer = json.loads(payload) if payload else {}
                # The store acknowledges on the same subject; what the engine says has no field `stream`.
                if payload and "stream" not in answer:
                    return answer
    raise OSError(f"{address} ended the connection")


def main() -> int:
    if len(sys.argv) != 6:
        print(__doc__, file=sys.stderr)
        return 2
    servers, name, place, path, identity = sys.argv[1:]
    key = Key(place)
    with open(path, encoding="utf-8") as file:
        body = event(file.read(), identity)
    until, problem = time.monotonic() + PATIENCE, "nobody answered"
    while time.monotonic() < until:
        for address in servers.split(","):
            try:
                answer = ask(address, name, key, body)
            except OSError as error:
                problem = str(error)
                continue
            print(json.dumps(answer))
            return 0 if "deployment" in answer else 1
        time.sleep(0.2)
    print(f"publish: {problem}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
