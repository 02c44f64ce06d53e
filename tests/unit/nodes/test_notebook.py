"""What a notebook shows."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from concurro.ids import ProgressRecord
from concurro.nodes.cluster import LocalCluster, LocalSlave, LocalSlaves
from concurro.nodes.control import Control
from concurro.nodes.handle import SystemHandle
from concurro.nodes.notebook import MOST_ROWS, cluster_html, table

NASTY = "<script>alert('x')</script>&"


class Page(HTMLParser):
    """The elements and the text of a piece of HTML, which must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.elements = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.elements.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


def slave(**facts):
    """Return a slave as a status lists it."""
    usual = {"id": "host-1", "host": "host", "workers": 4, "lent": 1, "running": 2, "queued": 5, "finished": 9}
    return usual | {"resources": {"gpu": 1.0}, "sick": "", "draining": False} | facts


def system(**facts):
    """Return a system as a status lists it."""
    usual = {"system_id": "abc", "name": "Search", "state": "running", "open": 3, "done": 7, "failed": 1}
    return usual | {"elapsed": 75.0} | facts


def test_a_cluster_shows_its_slaves_and_systems():
    status = {"url": "ipc:///there", "slaves": [slave()], "systems": [system()]}

    page = Page(cluster_html("LocalCluster", status))

    assert "1 slave, 3 workers, 2 at work" in page.text
    assert "gpu=1" in page.text
    assert "Search running 3 7 1 1:15 min" in page.text
    assert page.elements.count("table") == 2


def test_a_slave_that_gets_no_tasks_says_why():
    status = {"url": "", "slaves": [slave(sick="its disk is full"), slave(draining=True)], "systems": []}

    page = Page(cluster_html("LocalCluster", status))

    assert "its disk is full" in page.text
    assert "leaving" in page.text


def test_whatever_people_named_is_escaped():
    status = {"url": NASTY, "slaves": [slave(id=NASTY, host=NASTY, sick=NASTY)], "systems": [system(name=NASTY)]}
    handle = SystemHandle(NASTY, NASTY, Control())
    handle.take_progress(ProgressRecord(1, 2, NASTY))

    pages = [Page(cluster_html(NASTY, status)), Page(handle._repr_html_())]

    assert [page.elements.count("script") for page in pages] == [0, 0]
    assert all(NASTY in page.text for page in pages)


def test_a_long_table_ends_and_says_how_much_is_left_out():
    page = Page(table(["number"], [[number] for number in range(MOST_ROWS + 7)]))

    assert page.elements.count("td") == MOST_ROWS + 1
    assert "and 7 more" in page.text


def test_a_long_text_ends():
    assert len(table(["text"], [["x" * 10**6]])) < 1000


def test_a_running_system_shows_how_far_it_is():
    handle = SystemHandle("abc", "Search", Control())
    handle.take_progress(ProgressRecord(3, 6, "halfway", {"done": 3, "leased": 2, "failed": 1}, 12.0))

    page = Page(handle._repr_html_())

    assert "2 at work, 3 done, 1 failed" in page.text
    assert "3 of 6 (50%)" in page.text
    assert "halfway" in page.text
    assert "progress" in page.elements


def test_a_system_without_a_total_shows_no_share():
    handle = SystemHandle("abc", "Search", Control())
    handle.take_progress(ProgressRecord(3, counts={"done": 3}))

    page = Page(handle._repr_html_())

    assert "%" not in page.text
    assert "progress" not in page.elements


def test_a_failed_system_says_with_what():
    handle = SystemHandle("abc", "Search", Control())
    handle.end_failed(ValueError("no such <place>\nand more"))

    page = Page(handle._repr_html_())

    assert "failed with ValueError: no such <place> ..." in page.text.replace("  ", " ")


def test_a_cancelled_system_shows_as_one():
    handle = SystemHandle("abc", "Search", Control())
    handle.end_cancelled()

    assert "cancelled" in Page(handle._repr_html_()).text


def test_slaves_are_a_tuple_that_shows_as_a_table():
    slaves = LocalSlaves([LocalSlave("host-1", 17, (18, 19))])

    page = Page(slaves._repr_html_())

    assert slaves == (LocalSlave("host-1", 17, (18, 19)),)
    assert "host-1 17 18, 19" in page.text


def test_an_inline_cluster_shows_itself_until_it_is_closed():
    cluster = LocalCluster(inline=True)

    shown = Page(cluster._repr_html_()).text
    cluster.close()

    assert "LocalCluster : 1 slave, 1 worker" in shown
    assert repr(cluster) == "<LocalCluster inline closed>"
    assert cluster._repr_html_() is None


@pytest.mark.parametrize("fault", [TimeoutError(), LookupError("no")], ids=["nobody answers", "refused"])
def test_a_cluster_that_cannot_be_asked_shows_in_its_plain_form(fault, monkeypatch):
    cluster = LocalCluster(inline=True)

    def status():
        raise fault

    monkeypatch.setattr(cluster.application, "status", status)

    assert cluster._repr_html_() is None
    assert repr(cluster) == "<LocalCluster inline open>"
