"""Enable rules: globs on `module.Class`, the most specific one wins."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, NamedTuple

from concurro.config.core_options import COMPONENTS_TABLE
from concurro.config.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

    from concurro.config import Config


class Rule(NamedTuple):
    """One line of `[components]`.

    Attributes:
        glob: A shell pattern on `module.Class`.
        enabled: What it says.
        origin: Where it stands, e.g. `concurrent.toml:3`.
    """

    glob: str
    enabled: bool
    origin: str

    def matches(self, factory: str) -> bool:
        """Return whether the rule speaks about that component."""
        return fnmatch.fnmatchcase(factory, self.glob)

    @property
    def specificity(self) -> tuple[bool, int]:
        """No wildcard at all, then the number of plain characters."""
        wildcards = sum(self.glob.count(character) for character in "*?[")
        return wildcards == 0, len(self.glob) - wildcards

    def __str__(self) -> str:
        """Return the rule as a file has it, with its place."""
        return f'[components] "{self.glob}" = {str(self.enabled).lower()} ({self.origin})'


def read_rules(config: Config) -> tuple[Rule, ...]:
    """Return the rules in force, in the order of the file."""
    return tuple(
        Rule(glob, bool(enabled), config.origin(f"{COMPONENTS_TABLE}.{glob}"))
        for glob, enabled in config.table(COMPONENTS_TABLE).items()
    )


def deciding_rule(rules: Collection[Rule], factory: str) -> Rule | None:
    """Return the most specific rule about a component, or None."""
    matching = [rule for rule in rules if rule.matches(factory)]
    if not matching:
        return None
    return max(enumerate(matching), key=lambda pair: (pair[1].specificity, pair[0]))[1]


def idle_rules(rules: Collection[Rule], factories: Collection[str]) -> list[str]:
    """Return a warning for each rule that speaks about no component."""
    return [
        f"{rule} matches no component{did_you_mean(rule.glob, factories)}"
        for rule in rules
        if not any(rule.matches(factory) for factory in factories)
    ]
