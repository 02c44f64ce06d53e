"""What a workload is, and what a measurement may vary."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "concurro"


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing that is measured.

    Attributes:
        name: How the command line names it; `W1` stands for every `W1-...`.
        title: What it measures, in a line.
        contenders: Name to `module:function`, or to `module:function pool`; the function takes a
            `Setting`, and an open pool when one is named, and returns metric name to value.
        metric: The metric that ratios compare.
        unit: Its unit.
        more_is_better: Whether a larger value of it wins.
    """

    name: str
    title: str
    contenders: dict[str, str]
    metric: str
    unit: str
    more_is_better: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """What a measurement may vary.

    Attributes:
        workers: Worker processes.
        count: Tasks; None for the workload's own number.
    """

    workers: int = 2
    count: int | None = None
