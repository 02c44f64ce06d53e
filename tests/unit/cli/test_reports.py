"""Reports on the course of a system."""

from __future__ import annotations

import io
import json
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise
from math import inf, nan
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

from concurro.cli.outcomes import CommandFailure
from concurro.cli.places import check_places
from concurro.cli.reporting.charts import FAILED, MOST_LANES, Bar, histogram, lines, precise, timeline
from concurro.cli.reporting.course import Attempt, Course, Sample, SlaveCourse, read_course
from concurro.cli.reporting.files import write_files
from concurro.cli.reporting.lanes import place
from concurro.cli.reporting.page import efficiency, page_text, size_text
from concurro.cli.reporting.trace import trace_text
from concurro.cli.run import RunRequest, _write_report
from concurro.scheduling.chronicle import ROW

NASTY = "<script>alert('x')</script>"


def attempt(task=0, ended=1.0, seconds=0.5, **facts):
    """Return an attempt that was done, unless it is said otherwise."""
    usual = {"number": 1, "kind": "Square", "slave": 0, "leased": 0.0, "arrived": 0.0, "bytes_in": 10, "bytes_out": 20}
    return Attempt(task=task, ended=ended, seconds=seconds, **(usual | facts))


def course(attempts=(), **facts):
    """Return the course of a system with one slave of two workers."""
    attempts = sorted(attempts, key=lambda one: one.ended)
    usual = {"system_id": "abcd-ef", "name": "Search", "state": "complete", "counts": {"done": len(attempts)}}
    usual |= {"wall": 1.7e9, "span": 10.0, "stride": 1, "failed": sum(1 for one in attempts if one.failure)}
    usual |= {"slaves": [SlaveCourse("north", "north.example", 2, len(attempts), sum(o.seconds for o in attempts))]}
    usual["longest"] = max((one.seconds for one in attempts), default=0.0)
    return Course(attempts=attempts, **(usual | facts))


def told(**facts):
    """Return what a master answers."""
    row = ROW.pack(7, 101.0, 103.0, 0.5, 1, 0, 0, 5, -1)
    usual = {"system_id": "job", "name": "Job", "state": "running", "counts": {"done": 1}, "wall": 1e9, "began": 100.0}
    usual |= {"ended": 110.0, "stride": 4, "rows": row, "failed": 1, "classes": ["Square"]}
    usual |= {"failures": [[8, 101.0, 102.0, 0.25, 2, 0, 0, 1, "ValueError: no"]], "arrivals": [[0, 100.0], [5, 100.5]]}
    return usual | {"slaves": [["north", "host", 2, 2, 0.75]], "samples": [[101.0, 2, 1, [["north", 0.5]]]]} | facts


class Page(HTMLParser):
    """The elements and the text of a page, which must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.elements = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


def rectangles(svg):
    return ET.fromstring(svg).findall("rect")  # noqa: S314 - our own


# Reading


def test_times_count_from_the_submission():
    read = read_course(told())

    failed, done = read.attempts
    assert (done.task, done.leased, done.ended, done.seconds, done.arrived) == (7, 1.0, 3.0, 0.5, 0.5)
    assert (failed.task, failed.ended, failed.failure) == (8, 2.0, "ValueError: no")
    assert read.samples == [Sample(1.0, 2, 1, {"north": 0.5})]
    assert read.span == 10.0


def test_what_nobody_knows_is_none():
    failed, done = read_course(told()).attempts

    assert done.bytes_out is None
    assert failed.arrived is None  # it was tried before, and waited for that as well


def test_a_strategy_that_rates_a_slave_infinite_spoils_no_report():
    ratings = [["north", float("inf")], ["south", float("nan")], ["east", 1.0]]
    read = read_course(told(samples=[[101.0, 2, 1, ratings], [102.0, 2, 1, ratings]]))

    page, trace = page_text(read), trace_text(read)

    assert "Ratings" in Page(page).text
    assert [sample.ratings for sample in read.samples] == [{"east": 1.0}] * 2
    assert not {"Infinity", "NaN"} & set(re.findall(r"\w+", trace))


def test_tasks_between_arrivals_that_were_kept_came_between_them():
    arrivals = [[0, 100.0], [10, 102.0]]

    thinned = read_course(told(arrivals=arrivals, arrival_stride=4)).attempts[1]
    whole = read_course(told(arrivals=arrivals, arrival_stride=1)).attempts[1]

    assert (thinned.task, thinned.arrived) == (7, pytest.approx(1.4))
    assert whole.arrived == 0.0


def test_the_longest_attempt_is_known_though_it_was_not_kept():
    assert read_course(told()).longest == 0.5
    assert read_course(told(longest=9.0)).longest == 9.0


def test_a_wait_is_what_was_neither_work_nor_the_queue():
    done = read_course(told()).attempts[1]

    assert (done.queued, done.under_way) == (0.5, 1.5)


# Lanes


def test_attempts_at_the_same_time_are_on_lanes_of_their_own():
    placed = place([attempt(0, 1.0, 1.0), attempt(1, 1.0, 1.0)], 2)

    assert {one.lane for one in placed} == {0, 1}


def test_results_that_came_together_are_laid_behind_each_other():
    placed = place([attempt(number, 1.0, 0.1) for number in range(4)], 1)

    assert [(round(one.begin, 6), round(one.end, 6)) for one in placed] == [
        (0.6, 0.7),
        (0.7, 0.8),
        (0.8, 0.9),
        (0.9, 1),
    ]


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_no_lane_holds_two_attempts_at_once(lanes):
    attempts = [attempt(number, 10 + number // 7, 0.3 + number % 3) for number in range(100)]

    placed = place(attempts, lanes)

    for lane in range(lanes):
        ends = [(one.begin, one.end) for one in placed if one.lane == lane]
        assert all(end <= begin + 1e-9 for (_, end), (begin, _) in pairwise(ends))
    assert len(placed) == 100


# Page


def test_a_page_is_whole_and_needs_nothing_else():
    text = page_text(course([attempt(0), attempt(1, 2.0, failure="ValueError: no")], samples=[Sample(1, 2, 1, {})] * 2))

    page = Page(text)
    assert not re.search(r"https?:|src=|@import|url\(", text)
    assert {"svg", "table"} <= set(page.elements)
    assert not {"script", "link", "img"} & set(page.elements)
    for section in ("Workers over time", "At work", "Durations", "Waiting", "Transfers", "Slaves", "Failures"):
        assert section in page.text


def test_whatever_people_named_is_escaped():
    slaves = [SlaveCourse(NASTY, NASTY, 2, 1, 1.0)]
    samples = [Sample(1.0, 2, 1, {NASTY: 1.0}), Sample(2.0, 2, 1, {NASTY: 2.0})]
    attempts = [attempt(kind=NASTY), attempt(1, kind=NASTY, failure=NASTY)]

    page = Page(page_text(course(attempts, name=NASTY, system_id=NASTY, slaves=slaves, samples=samples)))

    assert "script" not in page.elements
    assert NASTY in page.text


def test_a_system_without_tasks_has_a_page():
    page = Page(page_text(course(slaves=[])))

    assert "0 tasks done" in page.text
    assert "workers on average" not in page.text  # nobody knows
    assert "Durations" not in page.text


def test_the_share_of_work_is_that_of_all_workers_over_all_the_time():
    assert efficiency(course([attempt(0, 10.0, 10.0)])) == 0.5
    assert efficiency(course()) is None


def test_workers_are_averaged_over_the_time_wherever_results_came():
    few = [Sample(at / 100, 2, 2, {}) for at in range(100)]

    told = course([attempt(0, 10.0, 9.0)], samples=[*few, Sample(1.0, 100, 100, {}), Sample(10.0, 100, 100, {})])

    assert told.workers == pytest.approx((0.99 * 2 + 0.01 * 51 + 9 * 100) / 10)


def test_the_ideal_is_no_longer_than_the_course_was():
    page = Page(page_text(course([attempt(0, 10.0, 10.0)] * 3)))

    assert "100.0% of the workers' time" in page.text.replace("  ", " ")
    assert "10 s would be ideal" in page.text


def test_a_page_of_a_running_system_says_that_it_goes_on():
    assert "to now" in Page(page_text(course(state="running"))).text
    assert "to end" in Page(page_text(course(state="cancelled"))).text


def test_the_ideal_is_no_shorter_than_the_longest_task():
    page = Page(page_text(course([attempt(0, 10.0, 8.0), attempt(1, 2.0, 1.0)])))

    assert "8 s would be ideal" in page.text


def test_a_page_of_a_sample_says_so():
    page = Page(page_text(course([attempt()], stride=8)))

    assert "one in 8 was kept" in page.text
    assert "about 80 B" in page.text


def test_failures_are_counted_by_reason():
    failures = [attempt(number, 1.0, failure="ValueError: no") for number in range(3)]

    page = Page(page_text(course(failures, failed=70)))

    assert "70 attempts failed" in page.text
    assert "The first 3 are known one by one" in page.text
    assert "3 ValueError: no" in page.text


# Charts


def test_a_timeline_of_many_tasks_has_few_shapes():
    bars = [Bar(number / 1e4, (number + 0.9) / 1e4, "#123", str(number)) for number in range(100_000)]

    svg = timeline([("north 1", bars)], 10.0)

    assert 1 <= len(rectangles(svg)) < 1000
    assert "attempts" in svg


def test_a_timeline_of_many_tasks_of_several_kinds_has_few_shapes_and_shows_failures():
    colours = ["#123", "#456", "#789"]
    bars = [Bar(number / 1e4, (number + 0.9) / 1e4, colours[number % 3], str(number)) for number in range(100_000)]
    bars[50_000] = bars[50_000]._replace(colour=FAILED)

    shapes = rectangles(timeline([("north 1", bars)], 10.0))

    assert len(shapes) < 2000
    assert sum(int(shape.find("title").text.partition(" ")[0]) for shape in shapes) == 100_000
    assert any(shape.get("fill") == FAILED for shape in shapes)


def test_a_long_task_is_a_shape_of_its_own_with_its_name():
    bars = [Bar(0.0, 4.0, "#123", "first"), Bar(4.0, 9.0, "#123", "second")]

    svg = timeline([("north 1", bars)], 10.0)

    assert [shape.find("title").text for shape in rectangles(svg)] == ["first", "second"]


def test_of_very_many_workers_the_first_are_drawn():
    svg = timeline([(f"north {lane}", [Bar(0, 1, "#123", "")]) for lane in range(1000)], 10.0)

    assert len(rectangles(svg)) == MOST_LANES


def test_a_histogram_counts_everything_once():
    svg = histogram([0.001, 0.001, 0.01, 2.0, 0.0], 3)

    counts = [int(shape.find("title").text.rpartition(" ")[2]) for shape in rectangles(svg)]
    assert sum(counts) == 15


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(0.0, 0.0)],
        [(0.0, -1.0), (5.0, 3.0)],
        [(0.0, -5.0), (5.0, -5.0)],
        [(0.0, inf), (5.0, 1.0)],
        [(0.0, nan), (5.0, -inf)],
        [(0.0, 1e308), (5.0, -1e308)],
        [(0.0, 5e-324)],
    ],
    ids=["none", "zero", "below zero", "alike", "infinite", "no numbers", "huge", "tiny"],
)
def test_a_curve_of_any_values_can_be_drawn(points):
    drawn = lines([("north", points)], 10.0, "rating", filled=True)

    assert ET.fromstring(drawn.partition("<p class")[0]).tag == "svg"  # noqa: S314 - our own


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 µs"), (12e-6, "12 µs"), (0.0123, "12.3 ms"), (1.5, "1.5 s"), (125, "2:05 min")]
)
def test_a_duration_is_in_a_unit_that_fits(seconds, text):
    assert precise(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**40, "1 TiB")])
def test_a_size_is_in_a_unit_that_fits(count, text):
    assert size_text(count) == text


# Trace


def test_a_trace_has_an_event_for_each_attempt_on_its_slave_and_lane():
    written = json.loads(trace_text(course([attempt(0, 1.0, 0.5), attempt(1, 2.0, 1.0, failure="ValueError: no")])))

    events = [event for event in written["traceEvents"] if event["ph"] == "X"]
    assert [(event["ts"], event["dur"], event["cat"]) for event in events] == [
        (500000.0, 500000.0, "task"),
        (1000000.0, 1000000.0, "failed"),
    ]
    assert events[0]["args"]["task"] == "abcd-ef:0"
    assert events[1]["args"]["failure"] == "ValueError: no"
    names = {event["args"]["name"] for event in written["traceEvents"] if event["ph"] == "M"}
    assert names == {"slave north", "worker 1"}


def test_a_trace_is_json_whatever_ratings_are():
    infinite = course([attempt()], samples=[Sample(1.0, 4, 3, {"north": inf})])

    trace = json.loads(trace_text(infinite), parse_constant=pytest.fail)

    assert [event["args"] for event in trace["traceEvents"] if event["name"] == "rating"] == [{"north": None}]


def test_a_trace_counts_workers_and_ratings():
    written = json.loads(trace_text(course([attempt()], samples=[Sample(1.0, 4, 3, {"north": 0.5})])))

    counters = {event["name"]: event["args"] for event in written["traceEvents"] if event["ph"] == "C"}
    assert counters == {"workers": {"at work": 3, "free": 1}, "rating": {"north": 0.5}}


# Files


def test_what_is_asked_for_is_written(tmp_path):
    write_files(course([attempt()]), str(tmp_path / "page.html"), str(tmp_path / "trace.json"))

    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traceEvents"]


def test_a_page_on_standard_output_is_utf_8_whatever_the_locale(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)

    write_files(course([attempt(seconds=1e-5)]), "-", None)

    assert "10 µs" in output.buffer.getvalue().decode()


def test_a_report_that_cannot_be_made_costs_no_result(capsys):
    cluster = SimpleNamespace(request=lambda *_: SimpleNamespace(result=lambda _: {"rows": "of a master to come"}))

    _write_report(cluster, "job", RunRequest("job.py", report="page.html"))

    assert "it could not be made: KeyError" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(CommandFailure, match="there is no folder"):
        check_places(None, "-", str(tmp_path / "nowhere" / "page.html"))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(CommandFailure, match="is a folder"):
        check_places(str(tmp_path))


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(CommandFailure, match="was not written"):
        write_files(course(), str(tmp_path / "nowhere" / "page.html"), None)
