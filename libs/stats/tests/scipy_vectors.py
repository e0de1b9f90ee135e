"""Writes scipy_vectors.json: figures of SciPy (made with 1.17) for fixed samples.

Run: python3 scipy_vectors.py > scipy_vectors.json

The p-values are SciPy's. SciPy has no Hodges-Lehmann interval for two samples: it is computed here by its definition,
from all differences sorted, at the rank that the distribution of U gives (exact: counted by recursion; else normal).
"""
import functools
import json
import math
import random

import numpy as np
from scipy.stats import mannwhitneyu, norm

random.seed(20)
CONFIDENCE = 0.98
cases = []


@functools.cache
def ways(u, m, n):
    """Orders of m and n distinct values with this U: whose is the largest of all?"""
    if u < 0:
        return 0
    if m == 0 or n == 0:
        return int(u == 0)
    return ways(u - n, m - 1, n) + ways(u, m, n - 1)


def rank(method, m, n):
    if method == "asymptotic":
        half = norm.ppf(0.5 + CONFIDENCE / 2) * math.sqrt(m * n * (m + n + 1) / 12)
        return max(1, math.floor(m * n / 2 - half))
    below, k = 0, 0
    while True:
        below += ways(k, m, n)
        if below > (1 - CONFIDENCE) / 2 * math.comb(m + n, n):
            return max(1, k)
        k += 1


def case(name, canary, baseline):
    ties = len(set(canary) | set(baseline)) < len(canary) + len(baseline)
    method = "exact" if not ties and len(canary) <= 20 and len(baseline) <= 20 else "asymptotic"
    result = mannwhitneyu(canary, baseline, alternative="two-sided", method=method, use_continuity=True)
    differences = np.sort(np.subtract.outer(np.array(canary), np.array(baseline)).ravel())
    k = rank(method, len(canary), len(baseline))
    cases.append({
        "name": name, "canary": canary, "baseline": baseline, "method": method,
        "u": float(result.statistic), "p": float(result.pvalue),
        "shift": float(np.median(differences)), "low": float(differences[k - 1]), "high": float(differences[-k]),
        "larger": float(result.statistic) / len(differences),
        "meanRatio": float(np.mean(canary) / np.mean(baseline)),
    })


def gauss(count, mean):
    return [round(random.gauss(mean, 3), 4) for _ in range(count)]


def lognormal(count, mean):
    return [round(random.lognormvariate(mean, 0.5), 4) for _ in range(count)]


case("small, no ties", [1.1, 2.2, 3.3, 4.4], [0.5, 1.5, 2.5, 3.5, 4.5])
case("apart", [10.0, 11.0, 12.0, 13.0, 14.0], [1.0, 2.0, 3.0, 4.0, 5.0])
case("one of each", [2.0], [1.0])
case("exact, 12 and 15", gauss(12, 10), gauss(15, 12))
case("exact, 20 and 20", gauss(20, 14), gauss(20, 11))
case("just above exact", gauss(21, 14), gauss(20, 11))
case("ties", [1.0, 2.0, 2.0, 3.0, 3.0, 3.0], [2.0, 3.0, 4.0, 4.0, 5.0])
case("many ties", [float(random.randint(0, 5)) for _ in range(60)], [float(random.randint(1, 6)) for _ in range(80)])
case("all tied but one", [1.0] * 30 + [2.0], [1.0] * 25)
case("large", lognormal(150, 2), lognormal(130, 2.1))
case("far apart", gauss(60, 100), gauss(60, 10))
case("equal distributions", [round(random.random(), 6) for _ in range(70)], [round(random.random(), 6) for _ in range(70)])
case("negative values", gauss(40, -10), gauss(35, -12))
print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")
