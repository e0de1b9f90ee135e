#!/usr/bin/env python3
"""Counts what the house is measured by, in the working tree or in a revision: how much product there is, which functions
are long, and how many places do by hand what stands once in libs/ground and libs/bus.

usage: tools/count.py [--functions] [REVISION...]

  --functions  also lists the functions of more than 60 lines
  REVISION     such as f9d393d; without one, the working tree. Several make one table.
"""
import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONG = 60
# What is counted as a text: the row, the text, and the place that is the one way.
BY_HAND = [
    ("places that answer a lost compare-and-set", r"Err\((?:\w+::)*Raced\) =>|matches!\(error, (?:\w+::)*Raced\)"),
    ("atomic replacements of a file", r"fs::rename\(|\.persist\("),
    ("backoffs", r"struct Backoff\b|from_secs\(1 << |\* \(1 << |saturating_mul\(1 << |2_u32\.pow\("),
    ("kinds of secret text", r"struct Secret\((?:String|Zeroizing)"),
]


def sources(revision):
    """Our Rust files below libs/ and services/ that are no tests, by path."""
    if revision is None:
        found = {str(path.relative_to(ROOT)): path.read_text() for top in ("libs", "services")
                 for path in (ROOT / top).rglob("*.rs") if "/target/" not in str(path)}
    else:
        archive = subprocess.run(["git", "archive", revision, "libs", "services"], cwd=ROOT, check=True,
                                 capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            found = {one.name: files.extractfile(one).read().decode() for one in files if one.name.endswith(".rs")}
    is_test = re.compile(r"/tests/|/tests\.rs$|/fuzz/|/sample/|/examples/|/src/gen/|/benches/|^libs/testkit/")
    return {path: without_tests(text) for path, text in found.items() if "/src/" in path and not is_test.search(path)}


def without_tests(text):
    """Drops `#[cfg(test)] mod tests { … }`, which ends a file."""
    at = re.search(r"^#\[cfg\(test\)\]\nmod \w+ \{", text, re.M)
    return text[:at.start()] if at else text


def functions(text):
    """Each function's name and its lines, from `fn` to the brace that ends it; the code is formatted."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        begins = re.match(r"( *)(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe |extern \"C\" )*fn (\w+)", line)
        if not begins:
            continue
        end = next((later for later in range(number, len(lines)) if lines[later].startswith(begins[1] + "}")
                    or (later == number and line.rstrip().endswith(("}", ";")))), number)
        yield begins[2], end - number + 1


def measure(revision):
    files = sources(revision)
    code = [line for text in files.values() for line in text.split("\n")
            if line.strip() and not line.strip().startswith("//")]
    long = sorted(((lines, path, name) for path, text in files.items() for name, lines in functions(text)
                   if lines > LONG), reverse=True)
    rows = [("lines of product code", len(code)), (f"functions over {LONG} lines", len(long))]
    text = "\n".join(code)
    rows += [(name, len(re.findall(pattern, text))) for name, pattern in BY_HAND]
    return rows, long


def main():
    asked = [word for word in sys.argv[1:] if not word.startswith("--")]
    if any(word not in ("--functions",) for word in sys.argv[1:] if word.startswith("--")):
        sys.exit(__doc__)
    measured = [(name or "working tree", *measure(name)) for name in (asked or [None])]
    width = max(len(name) for name, _ in measured[0][1])
    print(" " * width, *(f"{name[:14]:>14}" for name, _, _ in measured))
    for number, (row, _) in enumerate(measured[0][1]):
        print(f"{row:<{width}}", *(f"{rows[number][1]:>14,}" for _, rows, _ in measured))
    if "--functions" in sys.argv:
        for lines, path, name in measured[-1][2]:
            print(f"{lines:>4} {path} {name}")


main()
