"""`concurrent top`: a live view of a master.

connect --> look --> picture --> wait --> look ...
               |
               +-- the master is gone: say so, dial until it is back; Ctrl-C ends it
"""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click

from concurro.cli.asking import asked_master, master_options
from concurro.cli.interruption import interruptible
from concurro.cli.picture import Look, picture, rates
from concurro.cli.printing import JSON_VERSION, examples, is_live, json_option, json_text
from concurro.cli.rows import duration
from concurro.cli.tables import ask_surroundings
from concurro.errors import ConcurroError, ConfigError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from concurro.cli.picture import Rates

ANSWER_LIMIT = 5.0
"""After so long without an answer the master counts as gone [s]."""

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class Screen(Protocol):
    """Where pictures go."""

    def show(self, look: Look, rates: Rates) -> None:
        """Show a picture."""

    def tell(self, text: str) -> None:
        """Say that there is no picture, and why."""


@click.command("top", epilog=examples("concurrent top", "concurrent top --interval 5", "concurrent top --once --json"))
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds from one picture to the next.",
)
@click.option("--once", is_flag=True, help="Show one picture and end.")
@master_options
@json_option
def top_command(*, as_json: bool, interval: float, once: bool, **where: Any) -> None:
    """Watch the slaves and systems of a master, until Ctrl-C.

    PER S are tasks that ended per second since the picture before; the other columns are those of `concurrent slaves`
    and `concurrent systems`. Without a terminal the pictures follow each other as plain text, and with `--json` each is
    one line. When the master goes away this says so, and goes on as soon as it is back.
    """
    with interruptible(), _screen(as_json=as_json, once=once) as screen:
        try:
            watch(lambda: _connected(where), screen, time.sleep, interval=interval, once=once)
        except KeyboardInterrupt:
            return


def watch(  # noqa: PLR0913 - what a test puts in its place
    connect: Callable[[], AbstractContextManager[Callable[[], Look]]],
    screen: Screen,
    sleep: Callable[[float], None],
    *,
    interval: float,
    once: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Show pictures until somebody interrupts.

    Args:
        connect: Connects to the master, and gives what looks at it.
        screen: Where the pictures go.
        sleep: Waits for seconds [s].
        interval: Between two pictures [s].
        once: Whether one is enough.
        clock: Tells the time [s].

    Raises:
        ConcurroError: There was no master at the beginning, it refuses us, or `once` did not succeed.
        TimeoutError: It does not answer, with `once`.
    """
    before: Look | None = None
    seen_at: float | None = None
    while True:
        try:
            with connect() as look:
                while True:
                    now = look()
                    screen.show(now, rates(before, now))
                    before, seen_at = now, clock()
                    if once:
                        return
                    sleep(interval)
        except (RefusedError, ConfigError):
            raise
        except (ConcurroError, TimeoutError) as error:
            if once or seen_at is None:
                raise
            late = "it does not answer" if isinstance(error, TimeoutError) else "the connection ended"
            reason = str(error).strip() or late
            away = duration(clock() - seen_at)
            screen.tell(f"the master is gone ({reason}); waiting for it for {away}; Ctrl-C ends this")
        sleep(interval)


@contextmanager
def _connected(where: dict[str, Any]) -> Iterator[Callable[[], Look]]:
    with asked_master(**where) as application:

        def look() -> Look:
            status = application.request("status", []).result(ANSWER_LIMIT)
            return Look(status, ask_surroundings(application, ANSWER_LIMIT))

        yield look


@contextmanager
def _screen(*, as_json: bool, once: bool) -> Iterator[Screen]:
    if as_json:
        yield Lines()
    elif once or not is_live(sys.stdout):
        yield Plain(separate=not once)
    else:
        with ExitStack() as stack:
            sys.stdout.write(_ENTER)
            stack.callback(_leave)
            yield Live()


def _leave() -> None:
    sys.stdout.write(_LEAVE)
    sys.stdout.flush()


class Lines:
    """One JSON object a line."""

    def show(self, look: Look, rates: Rates) -> None:
        """Print it."""
        record = {"version": JSON_VERSION, "status": look.status, "surroundings": look.around}
        record["rates"] = {"slaves": dict(rates.slaves), "systems": dict(rates.systems)}
        click.echo(json_text(record))

    def tell(self, text: str) -> None:
        """Say it on standard error."""
        click.echo(text, err=True)


class Plain:
    """Pictures that follow each other."""

    def __init__(self, *, separate: bool) -> None:
        self._separate = separate
        self._told = False

    def show(self, look: Look, rates: Rates) -> None:
        """Print it."""
        self._told = False
        click.echo("\n".join([*picture(look, rates), *([""] if self._separate else [])]))

    def tell(self, text: str) -> None:
        """Say it on standard error, once."""
        if not self._told:
            click.echo(text, err=True)
        self._told = True


class Live:
    """One picture that is drawn over."""

    def show(self, look: Look, rates: Rates) -> None:
        """Draw it."""
        size = shutil.get_terminal_size()
        self._draw(picture(look, rates, width=size.columns, height=size.lines - 1))

    def tell(self, text: str) -> None:
        """Draw a text instead."""
        self._draw([text[: shutil.get_terminal_size().columns]])

    @staticmethod
    def _draw(lines: list[str]) -> None:
        drawn = "".join(f"{line}{_REST_OF_LINE}\r\n" for line in lines)
        sys.stdout.write(f"{_HOME}{drawn}{_REST_OF_SCREEN}")
        sys.stdout.flush()
