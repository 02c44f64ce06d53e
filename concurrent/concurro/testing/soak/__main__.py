"""Soak a cluster: `python -m concurro.testing.soak --minutes 1`."""

from __future__ import annotations

import argparse
import sys

from concurro.testing.soak.faults import GROUPS
from concurro.testing.soak.soak import Plan, soak


def main() -> int:
    """Do what the arguments say; return the exit code: 0 when all is well."""
    parser = argparse.ArgumentParser(prog="python -m concurro.testing.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults strike")
    parser.add_argument("--seed", type=int, default=None, help="decides faults and jobs, though not their timing")
    parser.add_argument("--faults", default=",".join(GROUPS), help=f"which of {','.join(GROUPS)}; none is allowed")
    parser.add_argument("--workers", type=int, default=1, help="workers of each of the three slaves")
    parser.add_argument("--customers", type=int, default=4, help="how many systems run at once")
    parser.add_argument("--keep", action="store_true", help="keep the folder also when all is well")
    arguments = parser.parse_args()
    groups = tuple(filter(None, arguments.faults.split(",")))
    if unknown := sorted(set(groups) - {*GROUPS, "none"}):
        parser.error(f"no such faults: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    plan = Plan(
        minutes=arguments.minutes,
        seed=arguments.seed,
        groups=tuple(group for group in groups if group != "none"),
        workers=arguments.workers,
        customers=arguments.customers,
        keep=arguments.keep,
    )
    return 1 if soak(plan) else 0


if __name__ == "__main__":
    sys.exit(main())
