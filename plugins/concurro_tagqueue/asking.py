"""What calls of a task manager are given: checked, and made plain."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from concurro import ConfigError
from concurro_tagqueue.errors import WaitTimeoutError
from concurro_tagqueue.lines import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from concurro_tagqueue.records import TagCounts


def check_tag(tag: Any) -> str:
    """Return a tag.

    Raises:
        ConfigError: It is no text, or empty.
    """
    if not isinstance(tag, str) or not tag:
        message = f"a tag is a text of at least one character, got {tag!r}"
        raise ConfigError(message)
    return tag


def check_priority(priority: Any) -> int:
    """Return a priority.

    Raises:
        ConfigError: It is no int.
    """
    if not isinstance(priority, int):
        message = f"a priority is an int, got {priority!r}"
        raise ConfigError(message)
    return int(priority)


def check_seconds(name: str, seconds: Any, *, above: bool = False) -> float | None:
    """Return a duration [s]; None, for ever, for what no clock can measure.

    Raises:
        ConfigError: It is no number, or too small.
    """
    if seconds is None:
        return None
    fits = isinstance(seconds, int | float) and (seconds > 0 if above else seconds >= 0)
    if not fits:
        message = f"{name} is a number of seconds {'above 0' if above else 'from 0 on'}, or None, got {seconds!r}"
        raise ConfigError(message)
    return None if seconds > threading.TIMEOUT_MAX else float(seconds)


def check_info(info: Any) -> str:
    """Return what a process says of itself.

    Raises:
        ConfigError: It is no text.
    """
    if info is not None and not isinstance(info, str):
        message = f"info is a text, got {info!r}"
        raise ConfigError(message)
    return info or ""


def with_tags(tags: Iterable[str]) -> Choice:
    """Return the choice of some tags.

    Raises:
        ConfigError: They are no texts, or none.
    """
    if isinstance(tags, str):
        message = f"tags are a collection of texts, got the text {tags!r}: write [{tags!r}]"
        raise ConfigError(message)
    chosen = frozenset(map(check_tag, tags))
    if not chosen:
        message = "tags are at least one: nothing has none of them"
        raise ConfigError(message)
    return Choice(chosen)


def with_tag(tag: str) -> Choice:
    """Return the choice of one tag.

    Raises:
        ConfigError: It is no text.
    """
    return Choice(frozenset((check_tag(tag),)))


def matching(pattern: str) -> Choice:
    """Return the choice of a pattern.

    Raises:
        ConfigError: It is no text.
    """
    return Choice(None, check_tag(pattern))


def wait_until_done(
    watch: Callable[[str, TagCounts | None, float | None], TagCounts], tag: str, timeout: float | None
) -> TagCounts:
    """Watch a tag until none of its tasks waits or runs.

    Raises:
        WaitTimeoutError: Some still do.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    counts = watch(tag, None, timeout)
    while counts.waiting or counts.running:
        rest = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            counts = watch(tag, counts, rest)
        except WaitTimeoutError:
            message = f"tag {tag!r}: {counts.waiting} tasks still wait and {counts.running} run after {timeout:g} s"
            raise WaitTimeoutError(message) from None
    return counts
