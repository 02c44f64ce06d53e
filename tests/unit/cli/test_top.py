"""The live view: what is drawn, and what happens when the master goes away."""

from __future__ import annotations

import contextlib
import io
import itertools
import json

import pytest

from concurro import LinkClosedError, MasterUnreachable, RefusedError
from concurro.cli.picture import Look, Rates, picture, rates
from concurro.cli.top import Lines, Live, Plain, watch

SLAVE = {"id": "north-1", "host": "north", "workers": 4, "lent": 0, "running": 3, "queued": 2, "finished": 90}
SLAVE |= {"resources": {}, "sick": "", "draining": False, "stopped": [], "connected": 125.0, "key": ""}
SYSTEM = {"system_id": "3f9c", "name": "Sum", "state": "running", "open": 10, "leased": 4, "done": 6, "failed": 1}
SYSTEM |= {"elapsed": 3.0, "age": 61.0, "owner": None}
NOTHING = Rates({}, {})
AROUND = {"master": {"load": [0.5, 0.4, 0.3], "memory": {"total": 8 << 30, "available": 2 << 30}}, "slaves": {}}


def look(uptime=10.0, slaves=(SLAVE,), systems=(SYSTEM,), pid=11):
    status = {"version": 1, "url": "ipc:///m", "pid": pid, "uptime": uptime}
    return Look({**status, "slaves": list(slaves), "systems": list(systems)}, AROUND)


class Album:
    """A screen that keeps everything."""

    def __init__(self):
        self.shown, self.told = [], []

    def show(self, look, rates):
        self.shown.append((look, rates))

    def tell(self, text):
        self.told.append(text)


class EndedError(Exception):
    """Ends a test that would go on for ever."""


def play(*events, once=False):
    """Watch a master of which each look is an event: a look, or an error; a list is of one connection."""
    album, connections = Album(), iter(events)
    slept, seconds = itertools.count(), itertools.count(step=3)

    @contextlib.contextmanager
    def connect():
        given = next(connections, EndedError())
        if isinstance(given, Exception):
            raise given
        looks = iter(given)

        def take():
            found = next(looks, EndedError())
            if isinstance(found, Exception):
                raise found
            return found

        yield take

    with contextlib.suppress(EndedError):
        watch(connect, album, lambda _: next(slept), interval=1.0, once=once, clock=lambda: next(seconds))
    album.slept = next(slept)
    return album


def test_rates_are_what_ended_between_two_looks():
    now = look(12.0, [{**SLAVE, "finished": 100}], [{**SYSTEM, "done": 8, "failed": 2}])

    found = rates(look(10.0), now)

    assert found == Rates({"north-1": 5.0}, {"3f9c": 1.5})


@pytest.mark.parametrize("before", [None, look(10.0, pid=12), look(10.0)])
def test_there_is_no_rate_after_one_look_or_of_another_master(before):
    assert rates(before, look(10.0)) == NOTHING


def test_what_is_new_has_no_rate_yet():
    assert rates(look(10.0, slaves=[], systems=[]), look(11.0)) == NOTHING


def test_the_picture_sums_up_and_lists_both():
    lines = picture(look(), Rates({"north-1": 5.0}, {"3f9c": 1.5}))

    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "master ipc:///m pid 11 up 10 s load 0.50 0.40 0.30 memory 6 GiB of 8 GiB" in text
    assert "tasks: 5 per s, 4 leased, 6 waiting slaves: 1, 3 of 4 workers busy systems: 1" in text
    assert "north-1 north 3/4 2 90 - - - - 2 min 5 s 5 ok" in text
    assert "3f9c Sum - 6 4 6 1 1 min 1 s 1.5 running" in text


def test_what_runs_stands_before_what_has_ended():
    ended = {**SYSTEM, "system_id": "gone", "state": "complete", "age": 1.0}

    lines = picture(look(systems=[ended, SYSTEM, {**SYSTEM, "system_id": "young", "age": 2.0}]), NOTHING)

    assert [line.split()[0] for line in lines[-3:]] == ["young", "3f9c", "gone"]


@pytest.mark.parametrize("height", [12, 24, 40])
def test_a_picture_fits_into_the_terminal_and_says_what_it_leaves_out(height):
    slaves = [{**SLAVE, "id": f"north-{number}"} for number in range(30)]
    systems = [{**SYSTEM, "system_id": f"s{number}"} for number in range(100)]

    lines = picture(look(slaves=slaves, systems=systems), NOTHING, width=60, height=height)

    assert len(lines) <= height
    assert all(len(line) <= 60 for line in lines[3:])
    assert any("more" in line for line in lines)


def test_one_picture_is_enough_for_once():
    album = play([look()], once=True)

    assert len(album.shown) == 1
    assert album.slept == 0


def test_pictures_follow_each_other_with_the_rates_between_them():
    album = play([look(10.0), look(11.0, [{**SLAVE, "finished": 97}])])

    assert [shown.slaves for _, shown in album.shown] == [{}, {"north-1": 7.0}]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MasterUnreachable("connection refused"), "connection refused"),
        (TimeoutError(), "it does not answer"),
        (LinkClosedError(""), "the connection ended"),
    ],
)
def test_a_master_that_goes_away_is_waited_for(error, reason):
    album = play([look(10.0), error], MasterUnreachable("nobody"), [look(2.0, pid=12)])

    assert [shown.status["pid"] for shown, _ in album.shown] == [11, 12]
    assert [text.partition(" for it ")[0] for text in album.told] == [
        f"the master is gone ({reason}); waiting",
        "the master is gone (nobody); waiting",
    ]


def test_how_long_a_master_is_gone_counts_from_the_last_picture():
    album = play([look(10.0), MasterUnreachable("gone")], MasterUnreachable("gone"), MasterUnreachable("gone"))

    assert [text.partition(" for it ")[2] for text in album.told] == [
        f"for {seconds} s; Ctrl-C ends this" for seconds in (3, 6, 9)
    ]


def test_without_a_master_at_the_beginning_there_is_an_error():
    with pytest.raises(MasterUnreachable):
        play(MasterUnreachable("nobody"))


def test_a_master_that_refuses_us_later_is_not_waited_for():
    with pytest.raises(RefusedError):
        play([look(), RefusedError("revoked", "key")])


def test_once_does_not_wait_for_a_master():
    with pytest.raises(MasterUnreachable):
        play([MasterUnreachable("gone")], once=True)


def test_a_picture_as_json_is_one_line(capsys):
    Lines().show(look(), Rates({"north-1": 5.0}, {}))

    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert (record["version"], record["rates"]["slaves"]) == (1, {"north-1": 5.0})
    assert record["status"]["slaves"][0]["id"] == "north-1"


def test_plain_pictures_say_once_that_the_master_is_gone(capsys):
    screen = Plain(separate=True)

    for _ in range(3):
        screen.tell("gone")
    screen.show(look(), NOTHING)
    screen.tell("gone")

    assert capsys.readouterr().err == "gone\ngone\n"


def test_a_live_picture_is_drawn_over_the_one_before(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)

    Live().show(look(), NOTHING)

    assert stream.getvalue().startswith("\x1b[Hmaster ipc:///m")
    assert stream.getvalue().endswith("\x1b[J")
