#!/usr/bin/env python3
"""Constant load on one address: a request every so often whatever the answers take, until SIGTERM.

usage: load.py URL RATE FILE    RATE in requests per second; counts are written to FILE four times a second

A request has failed when it has no answer within 10 s, or one that is not 200; it is never tried again. Every request
has a connection of its own, so that no failure hides behind one that is kept. The counts:
{"sent", "good", "failed", "versions": {x-version: number}, "failures": {reason: number}, "slowest_ms", "p99_ms"}
"""

import collections
import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.parse

WORKERS = 32
TIMEOUT = 10.0  # seconds


class Load:
    def __init__(self, url: str, rate: float):
        address = urllib.parse.urlsplit(url)
        self.host, self.port, self.path = address.hostname, address.port, address.path or "/"
        self.interval = 1.0 / rate
        self.lock = threading.Lock()
        self.sent = 0
        self.times: list[float] = []
        self.versions: collections.Counter[str] = collections.Counter()
        self.failures: collections.Counter[str] = collections.Counter()
        self.ending = threading.Event()
        self.began = time.monotonic()

    def work(self) -> None:
        while True:
            with self.lock:
                due = self.began + self.sent * self.interval
                now = time.monotonic()
                if self.ending.is_set():
                    return
                if now >= due:
                    self.sent += 1
            if now < due:
                self.ending.wait(min(due - now, 0.05))
                continue
            began = time.monotonic()
            failure, version = self.one()
            took = time.monotonic() - began
            with self.lock:
                self.times.append(took)
                if failure:
                    self.failures[failure] += 1
                else:
                    self.versions[version] += 1

    def one(self) -> tuple[str | None, str]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                return f"{answer.status} {body[:80].decode(errors='replace')}".strip(), ""
            return None, answer.headers.get("x-version", "?")
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}", ""
        finally:
            connection.close()

    def counts(self) -> dict:
        with self.lock:
            times = sorted(self.times)
            good, failed = sum(self.versions.values()), sum(self.failures.values())
            slowest = times[-1] if times else 0.0
            p99 = times[int(len(times) * 0.99)] if times else 0.0
            return {"sent": good + failed, "good": good, "failed": failed, "versions": dict(self.versions),
                    "failures": dict(self.failures), "slowest_ms": round(slowest * 1000, 1),
                    "p99_ms": round(p99 * 1000, 1)}


def write(path: str, counts: dict) -> None:
    # One rename: whoever reads meanwhile sees whole counts.
    with open(path + ".next", "w", encoding="utf-8") as file:
        json.dump(counts, file)
    os.replace(path + ".next", path)


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    load = Load(sys.argv[1], float(sys.argv[2]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: load.ending.set())
    workers = [threading.Thread(target=load.work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    while not load.ending.wait(0.25):
        write(sys.argv[3], load.counts())
    for worker in workers:
        worker.join()
    write(sys.argv[3], load.counts())
    return 0


if __name__ == "__main__":
    sys.exit(main())
