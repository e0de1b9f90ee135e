#!/usr/bin/env python3
"""Checks a log's files straight from RFC 6962, sharing no code with the product. Standard library only.

tlog.py root FOLDER                    recomputes the root from the entries and compares it with the checkpoint
tlog.py proof FILE.tlog-proof ENTRY    checks that the entry's bytes are in the log of the proof's checkpoint
tlog.py consistency OLD NEW HASH...    checks that checkpoint file NEW extends checkpoint file OLD
"""
import base64, hashlib, sys
from pathlib import Path


def sha(data): return hashlib.sha256(data).digest()
def leaf(entry): return sha(b"\0" + entry)
def node(left, right): return sha(b"\1" + left + right)


def split(n):  # the largest power of two less than n
    k = 1
    while k * 2 < n: k *= 2
    return k


def mth(leaves):  # RFC 6962, section 2.1
    if not leaves: return sha(b"")
    if len(leaves) == 1: return leaves[0]
    k = split(len(leaves))
    return node(mth(leaves[:k]), mth(leaves[k:]))


def climb(m, n, hash, path):  # the inverse of PATH(m, D[n]), section 2.1.1
    if n == 1: return hash if not path else None
    if not path: return None
    k = split(n)
    if m < k:
        below = climb(m, k, hash, path[:-1])
        return below and node(below, path[-1])
    below = climb(m - k, n - k, hash, path[:-1])
    return below and node(path[-1], below)


def grow(m, n, known, path, whole):  # the inverse of SUBPROOF(m, D[n], b), section 2.1.2: (old root, new root)
    if m == n: return (known, known) if whole and not path else (path[0], path[0]) if len(path) == 1 else None
    if not path: return None
    k = split(n)
    if m <= k:
        below = grow(m, k, known, path[:-1], whole)
        return below and (below[0], node(below[1], path[-1]))
    below = grow(m - k, n - k, known, path[:-1], False)
    return below and (node(path[-1], below[0]), node(path[-1], below[1]))


def checkpoint(text):
    origin, size, root = text.split("\n\n")[0].split("\n")[:3]
    return origin, int(size), base64.b64decode(root)


def bundles(folder, size):  # c2sp.org/tlog-tiles
    for n in range((size + 255) // 256):
        width, digits, rest = min(256, size - n * 256), f"{n % 1000:03}", n // 1000
        while rest: digits, rest = f"x{rest % 1000:03}/{digits}", rest // 1000
        path = folder / "tile/entries" / digits
        if width < 256 and not path.exists(): path = Path(f"{path}.p") / str(width)
        data = path.read_bytes()
        for _ in range(width):
            length = int.from_bytes(data[:2], "big")
            yield data[2:2 + length]
            data = data[2 + length:]


def main(command, *args):
    if command == "root":
        folder = Path(args[0])
        _, size, root = checkpoint((folder / "checkpoint").read_text())
        found = mth([leaf(entry) for entry in bundles(folder, size)])
    elif command == "proof":
        head, rest = Path(args[0]).read_text().split("\n\n", 1)
        lines = [line for line in head.split("\n")[1:] if not line.startswith("extra ")]
        _, size, root = checkpoint(rest)
        path = [base64.b64decode(line) for line in lines[1:]]
        found = climb(int(lines[0].split()[1]), size, leaf(Path(args[1]).read_bytes()), path)
    else:
        (_, old, before), (_, new, root) = (checkpoint(Path(file).read_text()) for file in args[:2])
        roots = grow(old, new, before, [base64.b64decode(hash) for hash in args[2:]], True)
        found = roots[1] if roots and roots[0] == before else None
    print("agrees" if found == root else f"expected {root.hex()}, found {found and found.hex()}")
    return 0 if found == root else 1


sys.exit(main(*sys.argv[1:]))
