#!/usr/bin/env python3
"""A second verifier of the audit log's files, written from docs/audit.md and the C2SP texts it names.

log.py POLICY FOLDER...   prints `FOLDER valid` or `FOLDER invalid: why` for each
"""
import re, sys
from pathlib import Path

from notes import Note, Policy, Refused, leaf_hash, node_hash, refuse, split

WIDTH = 256


def mth(hashes):
    if not hashes: refuse("root", "there are no entries")
    if len(hashes) == 1: return hashes[0]
    k = split(len(hashes))
    return node_hash(mth(hashes[:k]), mth(hashes[k:]))


def place(folder, level, number):
    name, rest = f"{number % 1000:03}", number // 1000
    while rest: name, rest = f"x{rest % 1000:03}/{name}", rest // 1000
    return folder / "tile" / level / name


def bytes_of(folder, level, number, width):
    """The newest form of a tile that has so many: its width, and its bytes."""
    full = place(folder, level, number)
    part = Path(f"{full}.p") / str(width)
    if width < WIDTH and part.exists(): return width, part.read_bytes()
    if not full.exists(): refuse("tile", f"{full} is not there")
    return WIDTH, full.read_bytes()


def entries_in(data, width):
    found = []
    for _ in range(width):
        size = int.from_bytes(data[:2], "big")
        if len(data) < 2 + size or len(data) < 2: refuse("entries", "are cut off")
        found.append(data[2:2 + size])
        data = data[2 + size:]
    if data: refuse("entries", "have bytes behind the last")
    return found


def hashes_in(data, width):
    if len(data) != 32 * width: refuse("tile", "has not its size")
    return [data[at:at + 32] for at in range(0, len(data), 32)]


def tile(folder, level, number, width, expected):
    """The tile holds what is expected, and every narrower form beside it begins so."""
    read = hashes_in if level != "entries" else lambda data, width: [leaf_hash(entry) for entry in entries_in(data, width)]
    found, data = bytes_of(folder, level, number, width)
    if read(data, found)[:width] != expected: refuse("tile", f"{number} of {level} is another")
    beside = Path(f"{place(folder, level, number)}.p")
    for older in beside.iterdir() if beside.is_dir() else []:
        if re.fullmatch(r"[0-9]+", older.name) and int(older.name) < width:
            if read(older.read_bytes(), int(older.name)) != expected[:int(older.name)]: refuse("tile", f"{older} is no beginning")


def verify(folder, policy):
    shown = folder / "checkpoint"
    if not shown.exists(): refuse("checkpoint", "is not there")
    try: note = Note(shown.read_bytes().decode(), "checkpoint")
    except UnicodeDecodeError: refuse("checkpoint", "is no text")
    policy.check(note, "checkpoint")
    leaves = []
    for number in range(-(-note.size // WIDTH)):
        width = min(WIDTH, note.size - number * WIDTH)
        found, data = bytes_of(folder, "entries", number, width)
        hashes = [leaf_hash(entry) for entry in entries_in(data, found)][:width]
        tile(folder, "entries", number, width, hashes)
        tile(folder, "0", number, width, hashes)
        leaves += hashes
    below, level = leaves, 1
    while len(below) >= WIDTH:
        below = [mth(below[at:at + WIDTH]) for at in range(0, len(below) // WIDTH * WIDTH, WIDTH)]
        for number in range(-(-len(below) // WIDTH)):
            part = below[number * WIDTH:(number + 1) * WIDTH]
            tile(folder, str(level), number, len(part), part)
        level += 1
    if mth(leaves) != note.root: refuse("root", "is not that of the entries")


def main(policy, *folders):
    policy = Policy(Path(policy).read_text())
    for folder in folders:
        try:
            verify(Path(folder), policy)
            print(f"{folder} valid")
        except Refused as refused: print(f"{folder} invalid: {refused}")


if __name__ == "__main__": main(*sys.argv[1:])
