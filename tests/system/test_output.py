"""Output of tasks and systems arrives at the application, whole, marked and bounded."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
import warnings

import psutil
import pytest

from concurro import LocalCluster, Task, TaskSystem, WorkerLost
from tests.support.jobs import SHIPPED, Square, Waiting, open_gate
from tests.support.programs import command, run_program
from tests.support.waiting import wait_until

SILENT = {"application": {**SHIPPED["application"], "output": False}}
MEBIBYTE = 1024 * 1024


class Speaking(Task):
    """Writes in every way there is."""

    def __init__(self, name: str, *ways: str) -> None:
        super().__init__(name)
        self.ways = ways

    def __call__(self) -> None:
        for way in self.ways:
            getattr(self, way)()

    def prints(self) -> None:
        print(f"printed by {self.name}")
        print(f"complaint of {self.name}", file=sys.stderr)

    def logs_as_it_is(self) -> None:
        logging.getLogger("library").warning("logged by %s", self.name)

    def logs_configured(self) -> None:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        logger = logging.getLogger("configured")
        logger.propagate = False
        logger.addHandler(handler)
        logger.warning("configured by %s", self.name)
        logger.removeHandler(handler)

    def warns(self) -> None:
        warnings.warn(f"warned by {self.name}", stacklevel=1)

    def writes_natively(self) -> None:
        os.write(1, f"native 1 of {self.name}\n".encode())
        os.write(2, f"native 2 of {self.name}\n".encode())

    def runs_a_program(self) -> None:
        subprocess.run(["sh", "-c", f"echo child 1 of {self.name}; echo child 2 of {self.name} >&2"], check=True)

    def leaves_a_line_open(self) -> None:
        print(f"open line of {self.name}", end="")

    def prints_in_a_thread(self) -> None:
        thread = threading.Thread(target=print, args=(f"thread of {self.name}",))
        thread.start()
        thread.join()

    def dies(self) -> None:
        print(f"last words of {self.name}", flush=True)
        os.kill(os.getpid(), 9)


class Flood(Task):
    """Writes much more than anybody wants to read."""

    def __init__(self, size: int) -> None:
        super().__init__("flood")
        self.size = size

    def __call__(self) -> int:
        block = b"".join(b"drop %059d\n" % number for number in range(1024))
        print("the beginning", flush=True)
        for _ in range(self.size // len(block)):
            os.write(1, block)
        print("the end")
        return os.getpid()


class Talkative(TaskSystem):
    """A job whose callbacks speak."""

    def __init__(self, *tasks: Task) -> None:
        super().__init__()
        self.tasks = list(tasks)
        self.left = len(tasks)

    def init_system(self, master) -> None:
        master.log.info("informed")
        master.log.warning("warned")

    def generate_tasks(self, master):
        del master
        print("generating")
        return self.tasks

    def task_finished(self, master, task, result, error) -> None:
        del master, result, error
        print("finished", task.name, file=sys.stderr)
        self.left -= 1

    def is_complete(self, master) -> bool:
        del master
        return not self.left

    def gather_result(self, master):
        del master
        os.write(1, b"gathering")
        return [task.task_id for task in self.tasks], None


def lines_with(text: str, words: str) -> list[str]:
    """Return the lines of `text` that contain `words`."""
    return [line for line in text.splitlines() if words in line]


def test_whatever_a_task_writes_is_there_before_its_result_and_on_its_own_stream(shared_cluster, capfd):
    (slave,) = (slave.id for slave in shared_cluster.slaves)
    task = Speaking(
        "speaker", "prints", "logs_as_it_is", "logs_configured", "warns", "writes_natively", "runs_a_program",
        "prints_in_a_thread", "leaves_a_line_open",
    )  # fmt: skip

    shared_cluster.push_task(task).result(30)

    out, err = capfd.readouterr()
    mark = f"[speaker {slave}] "
    assert out.splitlines() == [
        f"{mark}printed by speaker",
        f"{mark}WARNING configured by speaker",
        f"{mark}native 1 of speaker",
        f"{mark}child 1 of speaker",
        f"{mark}thread of speaker",
        f"{mark}open line of speaker",
    ]
    assert lines_with(err, "complaint of") == [f"{mark}complaint of speaker"]
    assert lines_with(err, "logged by") == [f"{mark}logged by speaker"]
    assert len(lines_with(err, "UserWarning: warned by speaker")) == 1
    assert lines_with(err, "native 2") == [f"{mark}native 2 of speaker"]
    assert lines_with(err, "child 2") == [f"{mark}child 2 of speaker"]
    assert all(line.startswith(mark) for line in err.splitlines())


@pytest.mark.parametrize("way", ["prints", "writes_natively", "runs_a_program"])
def test_a_result_never_overtakes_the_output_before_it(shared_cluster, capfd, way):
    for number in range(20):
        shared_cluster.push_task(Speaking(f"task-{number}", way)).result(30)
        out, err = capfd.readouterr()

        assert len(lines_with(out, f"of task-{number}") + lines_with(out, f"by task-{number}")) == 1
        assert len(lines_with(err, f"of task-{number}")) == 1


def test_each_of_many_short_tasks_is_marked_with_its_own_name(shared_cluster, capfd):
    tasks = [Speaking(f"short-{number}", "prints") if number % 3 else Square(number) for number in range(600)]

    for future in shared_cluster.push_tasks(tasks):
        future.result(30)

    out = capfd.readouterr().out.splitlines()
    assert len(out) == 400
    assert sorted(out) == sorted(
        f"[short-{number} {shared_cluster.slaves[0].id}] printed by short-{number}"
        for number in range(600)
        if number % 3
    )


class Native(Task):
    """Writes past Python's streams, first and last."""

    def __init__(self, number: int, duration: float) -> None:
        super().__init__(f"native-{number}")
        self.span = duration

    def __call__(self) -> str:
        os.write(1, f"{self.name} begins\n".encode())
        begun = time.perf_counter()
        while time.perf_counter() - begun < self.span:
            pass
        os.write(1, f"{self.name} ends\n".encode())
        return self.name


@pytest.mark.parametrize("duration", [0.0003, 0.003])
def test_what_is_written_natively_is_never_taken_for_a_neighbours(shared_cluster, duration):
    futures = shared_cluster.push_tasks(Native(number, duration) for number in range(150))

    names = [future.result(30) for future in futures]

    assert [future.output() for future in futures] == [f"{name} begins\n{name} ends\n" for name in names]


class Early(Waiting):
    """Prints, then waits at the gate."""

    def __call__(self) -> int:
        print("at the gate")
        return super().__call__()


def test_output_of_a_running_task_arrives_while_it_runs(shared_cluster, capfd, tmp_path):
    future = shared_cluster.push_task(Early("early", tmp_path))
    shown = ""

    def arrived():
        nonlocal shown
        shown += capfd.readouterr().out
        return "at the gate" in shown

    wait_until((tmp_path / "trace").exists, 30, "the task to run")
    wait_until(arrived, 30, "its output")
    said = future.output()
    open_gate(tmp_path)
    future.result(30)

    assert said == "at the gate\n"


def test_the_callbacks_of_a_system_speak_with_its_name(shared_cluster, capfd):
    handle = shared_cluster.submit(Talkative(Speaking("first", "prints")))
    handle.result(30)

    out, err = capfd.readouterr()
    mine = [line for line in out.splitlines() if line.startswith("[Talkative] ")]
    assert mine == ["[Talkative] generating", "[Talkative] gathering"]
    assert lines_with(out, "printed by first") == [f"[first {shared_cluster.slaves[0].id}] printed by first"]
    assert lines_with(err, "finished first") == ["[Talkative] finished first"]
    assert [line.startswith("[Talkative] ") for line in [*lines_with(err, "informed"), *lines_with(err, "warned")]] == [
        True,
        True,
    ]


def test_the_last_lines_of_a_task_can_be_asked_for_after_its_end(shared_cluster):
    handle = shared_cluster.submit(Talkative(Speaking("speaker", "prints", "writes_natively"), Square(3)))
    speaker, silent = handle.result(30)

    text = handle.output(speaker)

    assert sorted(text.splitlines()) == [
        "complaint of speaker", "native 1 of speaker", "native 2 of speaker", "printed by speaker",
    ]  # fmt: skip
    assert handle.output(silent) == ""
    with pytest.raises(LookupError):
        handle.output(f"{handle.system_id}:99")
    with pytest.raises(LookupError):
        handle.output("another:0")
    with pytest.raises(LookupError):
        handle.output("nonsense")


def test_the_last_words_of_a_worker_arrive_and_are_in_the_error(capfd):
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        task = Speaking("doomed", "dies")
        task.max_retries = 0
        future = cluster.push_task(task)
        with pytest.raises(WorkerLost, match="last words of doomed"):
            future.result(30)
        said = future.output()

    out = capfd.readouterr().out
    assert len(lines_with(out, "last words of doomed")) == 1
    assert said == "last words of doomed\n"


@pytest.mark.slow
@pytest.mark.parametrize("slaves", [1, 2], ids=["in the master", "beside it"])
def test_a_flood_costs_no_memory_and_loses_its_middle(capfd, slaves):
    size = 300 * MEBIBYTE
    with LocalCluster(workers=1, slaves=slaves, config=SHIPPED) as cluster:
        cluster.push_task(Square(1)).result(30)
        nodes = [psutil.Process(cluster.master_pid), *(psutil.Process(slave.pid) for slave in cluster.slaves)]
        before = [node.memory_info().rss for node in nodes]
        cluster.push_task(Flood(size)).result(60)
        after = [node.memory_info().rss for node in nodes]
        answer = cluster.push_task(Square(5)).result(30)

    out = capfd.readouterr().out
    assert answer == 25
    assert lines_with(out, "the beginning")
    assert lines_with(out, "the end")
    dropped = sum(int(line.split("... ")[1].split()[0]) for line in lines_with(out, "bytes of output dropped"))
    assert dropped > size // 2
    assert len(out) < 8 * MEBIBYTE
    assert all(late - early < 24 * MEBIBYTE for early, late in zip(before, after, strict=True)), (before, after)


@pytest.mark.slow
def test_results_come_although_nobody_reads_the_application(tmp_path):
    program = tmp_path / "deaf.py"
    program.write_text(
        "import os, sys\n"
        "from concurro import LocalCluster, Task\n"
        "class Loud(Task):\n"
        "    def __call__(self):\n"
        "        for _ in range(4000):\n"
        "            print('x' * 99)\n"
        "        return 1\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(workers=2) as cluster:\n"
        "        futures = cluster.push_tasks(Loud(f'loud-{n}') for n in range(8))\n"
        "        total = sum(future.result(60) for future in futures)\n"
        "        os.write(2, f'total {total}'.encode())\n"
        "    os._exit(0)\n"
    )
    process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    _, errors = process.stderr, process.stderr.read().decode()  # standard output is read by nobody
    process.stdout.close()

    assert process.wait(30) == 0
    assert errors == "total 8"
    process.stderr.close()


@pytest.mark.slow
def test_output_can_be_switched_off_and_is_kept_all_the_same(capfd):
    with LocalCluster(workers=1, config=SILENT) as cluster:
        future = cluster.push_task(Speaking("quiet", "prints"))
        future.result(30)
        handle = cluster.submit(Talkative(Square(1)))
        handle.result(30)
        text = future.output()

    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert sorted(text.splitlines()) == ["complaint of quiet", "printed by quiet"]


def test_an_inline_task_prints_directly(capsys):
    with LocalCluster(inline=True, config=SHIPPED) as cluster:
        cluster.push_task(Speaking("direct", "prints")).result(0)

    assert capsys.readouterr().out == "printed by direct\n"


JOB = """
from concurro import Task, TaskSystem

class Greeting(Task):
    def __call__(self):
        print("hello")
        return 1

class Job(TaskSystem):
    done = 0
    def generate_tasks(self, master):
        print("generating")
        return [Greeting("greeting")]
    def task_finished(self, master, task, result, error):
        self.done += result
    def is_complete(self, master):
        return self.done == 1
    def gather_result(self, master):
        return "the result", None

print("imported")
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--workers", "1"], ["--inline"]], ids=["workers", "inline"])
def test_the_standard_output_of_run_holds_the_result_alone(tmp_path, options):
    job = tmp_path / "job.py"
    job.write_text(JOB)

    run = run_program(command("concurrent"), "run", job, "--no-progress", *options, cwd=tmp_path)

    assert run.stdout == "the result\n"
    assert len(lines_with(run.stderr, "hello")) == 1
    assert len(lines_with(run.stderr, "generating")) == 1


@pytest.mark.slow
def test_a_script_that_prints_and_exits_shows_everything(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        JOB + "if __name__ == '__main__':\n"
        "    from concurro import LocalCluster\n"
        "    with LocalCluster(workers=1) as cluster:\n"
        "        print(cluster.run(Job()))\n"
    )

    run = run_program(sys.executable, script, cwd=tmp_path)

    lines = [line.rpartition("] ")[2] for line in run.stdout.splitlines()]
    assert sorted(lines[:3]) == ["generating", "hello", "imported"]
    assert lines[3:] == ["the result"]
