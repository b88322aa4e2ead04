"""Run the fuzz targets and print what came of it: `python tests/robustness/counts.py [TARGET [GENERATOR [SEED]]]`.

`--cases N` tries N seeds of each generator (25), `--first N` starts at that seed. The exit status is 1 where a promise
is broken.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path[:1] = [str(root / "src"), str(root)]

from tests.robustness.harness import Tally, campaign
from tests.robustness.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the fuzz targets and print counts.")
    parser.add_argument("target", nargs="?", help=", ".join(TARGETS))
    parser.add_argument("generator", nargs="?")
    parser.add_argument("seed", nargs="?", type=int)
    parser.add_argument("--cases", type=int, default=25)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.cases)
    if arguments.seed is not None:
        seeds = range(arguments.seed, arguments.seed + 1)
    lines, faults = [], []
    for name, target in TARGETS.items():
        if arguments.target not in (None, name):
            continue
        started, total = time.monotonic(), Tally()
        for generator in target.generators:
            if arguments.generator in (None, generator):
                tally = campaign(target, generator, seeds)
                print("\n".join(tally.faults), end="\n" if tally.faults else "", flush=True)
                total.add(tally)
        faults += total.faults
        cases = total.accepted + total.refused + len(total.faults)
        lines.append(
            f"| {name} | {len(target.generators)} | {cases} | {total.accepted} | "
            f"{total.refused} | {len(total.faults)} | {total.slowest:.1f} s | {total.largest:.0f} MB | "
            f"{time.monotonic() - started:.0f} s |"
        )
    print("\n| target | generators | cases | accepted | refused | faults | slowest | largest | took |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
