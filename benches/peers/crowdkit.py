#!/usr/bin/env python3
"""Runs crowd-kit on folders of votes and prints what it reached as JSON: set, method, accuracy, processor seconds.

usage: crowdkit.py DATA SET...

Makes a virtual environment under target/peers when it is not there. Not for CI: it takes minutes and needs PyPI.
Processor time of fitting only, without reading files and without imports; all threads of the process together.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

# scikit-learn 1.6 breaks Wawa and ZeroBasedSkill of this version.
NEEDS = ["crowd-kit==1.4.2", "scikit-learn<1.6", "pandas<3"]
HOME = Path(__file__).resolve().parents[2] / "target" / "peers" / "crowdkit"


def enter() -> None:
    """Goes on inside the environment, made first when it is not there."""
    python = HOME / "bin" / "python"
    if Path(sys.prefix) == HOME:
        return
    if not (HOME / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True, stdout=sys.stderr)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *NEEDS], check=True, stdout=sys.stderr)
        (HOME / "made").touch()
    # -P: this script has the package's name, and must not be found in its place.
    os.execv(str(python), [str(python), "-P", __file__, *sys.argv[1:]])


def main() -> None:
    enter()
    data, sets = Path(sys.argv[1]), sys.argv[2:]
    import pandas
    from crowdkit.aggregation import DawidSkene, MajorityVote, OneCoinDawidSkene, Wawa

    methods = {
        "majority": MajorityVote,
        "wawa": Wawa,
        "one_coin": lambda: OneCoinDawidSkene(n_iter=100),
        "dawid_skene": lambda: DawidSkene(n_iter=100),
    }
    results = []
    for name in sets:
        votes = pandas.read_csv(data / name / "label.csv").rename(columns={"item": "task"})
        votes = votes.drop_duplicates(["task", "worker"])
        truth = pandas.read_csv(data / name / "truth.csv").set_index("item")["truth"]
        for method, make in methods.items():
            began = time.process_time()
            labels = make().fit_predict(votes)
            seconds = time.process_time() - began
            both = truth.index.intersection(labels.index)
            accuracy = float((labels[both] == truth[both]).mean())
            results.append({"set": name, "method": method, "accuracy": accuracy, "seconds": seconds})
            print(f"  … crowd-kit {method} on {name}: {accuracy:.4f} in {seconds:.2f} s", file=sys.stderr)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
