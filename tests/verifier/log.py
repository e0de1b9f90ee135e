#!/usr/bin/env python3
"""log.py POLICY FOLDER... : checks copies of an audit log, from docs/audit.md and the C2SP tlog specifications."""
import json
import os
import re
import sys
import traceback

from common import Bad, Checkpoint, Policy, leaf_hash, read_canonical, root_of

WIDTH = 256


def tile_name(n):
    out = f"{n % 1000:03d}"
    n //= 1000
    while n:
        out = f"x{n % 1000:03d}/{out}"
        n //= 1000
    return out


def forms(folder, level, n):
    """All forms of a tile, as {width: bytes}."""
    base = os.path.join(folder, "tile", level, tile_name(n))
    out = {}
    if os.path.isfile(base):
        with open(base, "rb") as file:
            out[WIDTH] = file.read()
    partial = base + ".p"
    if os.path.isdir(partial):
        for name in os.listdir(partial):
            if re.fullmatch("[1-9][0-9]{0,2}", name, re.ASCII) and int(name) < WIDTH:
                with open(os.path.join(partial, name), "rb") as file:
                    out[int(name)] = file.read()
    return out


def entries_of(data, count, first):
    """The first COUNT entries of a bundle and where they end, or as many as there are, and why not more."""
    out, at = [], 0
    while len(out) < count:
        if at + 2 > len(data):
            return out, at, "the bundle ends before it"
        size = int.from_bytes(data[at:at + 2], "big")
        if at + 2 + size > len(data):
            return out, at, "the bundle ends within it"
        out.append(data[at + 2:at + 2 + size])
        at += 2 + size
    return out, at, None


def check_leaf(index, data):
    """A leaf that is JSON must be canonical. What is no JSON at all is taken as it is: None."""
    where = f"entry {index}"
    if data[:1] not in (b"{", b"["):
        try:
            json.loads(data)
        except ValueError:
            return None
    leaf = read_canonical(data, where)
    return leaf if isinstance(leaf, dict) else None


def complete(leaf):
    """Whether a leaf has what audit.md says that one has."""
    return (all(isinstance(leaf.get(f), str) for f in ("source", "actor", "action", "subject", "outcome"))
            and all(type(leaf.get(f)) is int and leaf[f] >= 0 for f in ("counter", "part", "parts", "at"))
            and leaf["outcome"] in ("done", "denied", "failed"))


def told(leaf, holes, behind):
    """Keeps what the log itself tells of counts (docs/audit.md, "Completeness"); under another source these are facts like any other."""
    detail = leaf.get("detail")
    if leaf["source"] != "audit" or not isinstance(detail, dict):
        return
    if leaf["action"] == "audit.hole" and all(type(detail.get(f)) is int for f in ("from", "to")):
        holes.setdefault(leaf["subject"], []).append((detail["from"], detail["to"]))
    elif leaf["action"] == "audit.fork" and isinstance(detail.get("after"), str) and type(detail.get("same")) is int:
        behind[detail["after"]] = detail["same"]


def is_told(source, count, holes):
    return any(first <= count <= last for first, last in holes.get(source, ()))


def check_log(policy, folder):
    path = os.path.join(folder, "checkpoint")
    if not os.path.isfile(path):
        raise Bad("checkpoint", "is not there")
    with open(path, "rb") as file:
        checkpoint = Checkpoint(file.read())
    policy.believe(checkpoint)
    size = checkpoint.size

    # Entries, tile by tile.
    hashes, leaves = [], []
    tiles = (size + WIDTH - 1) // WIDTH
    for n in range(tiles):
        needed = min(WIDTH, size - n * WIDTH)
        first = n * WIDTH
        have = forms(folder, "entries", n)
        if not have:
            raise Bad(f"entry {first}", f"tile/entries/{tile_name(n)} is not there; size {size} was signed")
        newest = max(have)
        entries, end, why = entries_of(have[newest], newest if newest <= needed else needed, first)
        if why:
            raise Bad(f"entry {first + len(entries)}", why)
        if newest < needed:
            raise Bad(f"entry {first + newest}", f"is not there; size {size} was signed")
        if newest == needed and end != len(have[newest]):
            raise Bad(f"entry {first + needed}", "bytes behind the last entry of a bundle")
        for width, data in have.items():
            if width < newest:
                part, stop, why = entries_of(have[newest], width, first)
                if why or data != have[newest][:stop]:
                    raise Bad(f"tile/entries/{tile_name(n)}.p/{width}", "is not the beginning of the newer form")
        for i, data in enumerate(entries):
            hashes.append(leaf_hash(data))
            leaves.append((first + i, data))

    # Hashes, level by level.
    level, row, span = 0, hashes, 1
    while row:
        for n in range((len(row) + WIDTH - 1) // WIDTH):
            part = row[n * WIDTH:(n + 1) * WIDTH]
            have = forms(folder, str(level), n)
            name = f"tile/{level}/{tile_name(n)}"
            where = f"entry {n * WIDTH * span}"
            if not have:
                raise Bad(where, f"{name} is not there")
            newest = max(have)
            if newest < len(part):
                raise Bad(f"entry {(n * WIDTH + newest) * span}", f"{name} is too narrow")
            for width, data in have.items():
                if len(data) != width * 32:
                    raise Bad(name, f"the form of width {width} has {len(data)} bytes")
            for i, h in enumerate(part):
                if have[newest][32 * i:32 * i + 32] != h:
                    raise Bad(f"entry {(n * WIDTH + i) * span}", f"does not have the hash of {name}")
            for width, data in have.items():
                if width < newest and data != have[newest][:len(data)]:
                    raise Bad(f"{name}.p/{width}", "is not the beginning of the newer form")
        row = [root_of(row[i:i + WIDTH]) for i in range(0, len(row) - WIDTH + 1, WIDTH)]
        level += 1
        span *= WIDTH

    if root_of(hashes) != checkpoint.root:
        raise Bad("checkpoint", "the entries do not have the signed root")

    # What the leaves say.
    counts, opaque, holes, behind = {}, 0, {}, {}
    for index, data in leaves:
        leaf = check_leaf(index, data)
        if leaf is None or not complete(leaf):
            opaque += 1
            continue
        told(leaf, holes, behind)
        seen = counts.setdefault(leaf["source"], {}).setdefault(leaf["counter"], {})
        if is_told(leaf["source"], leaf["counter"], holes) and len(seen) == next(iter(seen.values()), 0):
            continue
        if leaf["part"] in seen:
            raise Bad(f"entry {index}", f"{leaf['source']}:{leaf['counter']} part {leaf['part']} is kept twice")
        seen[leaf["part"]] = leaf["parts"]
        if leaf["parts"] != next(iter(seen.values())):
            raise Bad(f"entry {index}", f"{leaf['source']}:{leaf['counter']} has two numbers of parts")
    if opaque:
        print(f"{folder}: {opaque} leaves are no facts as audit.md describes them", file=sys.stderr)
    for source, numbers in sorted(counts.items()):
        first = behind.get(source, 0) + 1
        missing = [n for n in range(first, max(numbers) + 1) if n not in numbers and not is_told(source, n, holes)]
        if missing:
            print(f"{folder}: {source} lacks {len(missing)} counts, the first {missing[0]}", file=sys.stderr)


def one_line(text):
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: log.py POLICY FOLDER...")
    trouble = policy = None
    try:
        with open(sys.argv[1], encoding="utf-8", newline="") as file:
            policy = Policy(file.read())
    except Bad as bad:
        trouble = f"{bad.field}: {bad.why}"
    except (OSError, UnicodeDecodeError) as error:
        trouble = f"policy: {error}"
    for folder in sys.argv[2:]:
        try:
            if trouble:
                print(f"{folder} invalid: {trouble}")
                continue
            check_log(policy, folder)
            print(f"{folder} valid")
        except Bad as bad:
            print(one_line(f"{folder} invalid: {bad.field}: {bad.why}"))
        except Exception as error:  # a bug of ours, or what we did not foresee: said, and not hidden
            traceback.print_exc()
            print(f"{folder} invalid: ?: stumbled over {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
