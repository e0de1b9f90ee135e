#!/usr/bin/env python3
"""Asks for a deployment the way any program can: one CloudEvent over plain NATS, no client library.

usage: publish.py SERVERS SPEC ID    SERVERS is host:port,host:port,…   ID is unique within the source

Prints the engine's answer, one JSON object, and ends with 0; 1 when it says no or nobody answers in 20 s.
The same ID asks for the same deployment, so sending it again is safe.
"""

import json
import secrets
import socket
import sys
import time

SUBJECT = "code.v1.in.deployment.submit"
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


def ask(address: str, body: bytes) -> dict:
    """One request over the NATS protocol: CONNECT, SUB to the answer's subject, HPUB, then read."""
    host, port = address.rsplit(":", 1)
    inbox = "_INBOX." + secrets.token_hex(8)
    head = b"NATS/1.0\r\nContent-Type: application/cloudevents+json\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as stream:
        lines = stream.makefile("rb")
        if not lines.readline().startswith(b"INFO "):
            raise OSError(f"{address} is no NATS server")
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "name": "publish.py",
                   "lang": "python", "version": "1"}
        stream.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\nSUB " + inbox.encode() + b" 1\r\n"
                       + f"HPUB {SUBJECT} {inbox} {len(head)} {len(head) + len(body)}\r\n".encode()
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
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    servers, path, identity = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        body = event(file.read(), identity)
    until, problem = time.monotonic() + PATIENCE, "nobody answered"
    while time.monotonic() < until:
        for address in servers.split(","):
            try:
                answer = ask(address, body)
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
