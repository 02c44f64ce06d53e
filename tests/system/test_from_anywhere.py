"""A job is found wherever it was written: file, module, prompt, closure; and runs where none of it is."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

import concurro
from concurro.transport.keys_folder import KeyFolder
from tests.support.nodes import master_process, slave_process
from tests.support.programs import EXAMPLES, run_program
from tests.support.waiting import wait_until

EXAMPLE = (EXAMPLES / "sum_of_squares.py").read_text()
ANSWER = "332833500"
BASES = ["ITaskSystem", "TaskSystem"]
ONE_QUICK = ["ITaskSystem", pytest.param("TaskSystem", marks=pytest.mark.slow)]
NOBODY = 65534


def example(base):
    """Return the documented example with one of the two spellings of its base class."""
    return EXAMPLE.replace("ITaskSystem", base)


@pytest.mark.slow
@pytest.mark.parametrize("base", ONE_QUICK)
def test_the_example_runs_as_a_file(tmp_path, base):
    (tmp_path / "job.py").write_text(example(base))

    run = run_program(sys.executable, tmp_path / "job.py", cwd="/")

    assert run.stdout.strip() == ANSWER
    assert run.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("base", ONE_QUICK)
def test_the_example_runs_as_a_module_that_is_main(tmp_path, base):
    (tmp_path / "job.py").write_text(example(base))

    run = run_program(sys.executable, "-m", "job", cwd=tmp_path)

    assert run.stdout.strip() == ANSWER


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
def test_the_example_runs_from_a_module(tmp_path, base):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").touch()
    (tmp_path / "jobs" / "squares.py").write_text(example(base))
    (tmp_path / "start.py").write_text(
        "from concurro import LocalCluster\n"
        "from jobs.squares import SumOfSquares\n"
        "with LocalCluster(workers=2) as cluster:\n"
        "    print(cluster.run(SumOfSquares(1000)))\n"
    )

    run = run_program(sys.executable, tmp_path / "start.py", cwd="/")

    assert run.stdout.strip() == ANSWER


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
def test_the_example_runs_when_it_is_typed(tmp_path, base):
    typed = []
    for line in example(base).splitlines():
        # At a prompt an empty line ends a block, and a line without indentation needs one before it.
        if line and not line.startswith(" ") and typed and typed[-1].startswith(" "):
            typed.append("")
        if line:
            typed.append(line)

    run = subprocess.run(
        [sys.executable, "-i", "-q"],
        input="\n".join([*typed, "", "exit()", ""]),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )

    assert run.stdout.strip() == ANSWER, run.stderr
    assert "Traceback" not in run.stderr


EVERYTHING = '''
import enum
from dataclasses import dataclass
from concurro import Interface, LocalCluster, Task, implementer

class IShape(Interface):
    def area():
        """Return the area."""

@implementer(IShape)
class Disc:
    def __init__(self, r):
        self.r = r
    def area(self):
        return 3 * self.r**2

@dataclass(frozen=True)
class Point:
    x: int

class Colour(enum.Enum):
    RED = 1

@implementer(IShape)
class Area(Task):
    """A task that declares an interface, takes and gives objects that do."""
    def __init__(self, shape):
        super().__init__("area")
        self.shape = shape
    def __call__(self):
        assert IShape.providedBy(self.shape) and IShape.providedBy(self)
        return Disc(self.shape.area())
    def area(self):
        return 0

class Apply(Task):
    def __init__(self, function, *arguments):
        super().__init__("apply")
        self.function, self.arguments = function, arguments
    def __call__(self):
        return self.function(*self.arguments)

FACTOR = 7
def scaled(n):
    return recursive(n) * FACTOR
def recursive(n):
    return 1 if n < 2 else n * recursive(n - 1)

def make_local():
    offset = 100
    class Local(Task):
        def __init__(self, n):
            super().__init__("local")
            self.n = n
        def __call__(self):
            return self.n + offset
    @dataclass
    class Value:
        n: int
        def double(self):
            return Value(2 * self.n)
    return Local, Value, lambda n: n - offset

if __name__ == "__main__":
    Local, Value, less = make_local()
    with LocalCluster(workers=2) as cluster:
        push = cluster.push_task
        disc = push(Area(Disc(2))).result(20)
        print(type(disc) is Disc, IShape.providedBy(disc), disc.r)
        print(push(Apply(lambda a, b: a + b, 3, 4)).result(20))
        print(push(Apply(scaled, 5)).result(20))
        print(push(Apply(less, 142)).result(20))
        print(push(Local(5)).result(20))
        doubled = push(Apply(Value.double, Value(4))).result(20)
        print(type(doubled) is Value, doubled.n)
        print(push(Apply(lambda n: (lambda m: m * n), 6)).result(20)(7))
        print(push(Apply(lambda p: Point(p.x + 1), Point(1))).result(20) == Point(2))
        print(push(Apply(lambda: Colour.RED)).result(20) is Colour.RED)
        print(push(Apply(type, Colour.RED)).result(20) is Colour)
        print(push(Apply(lambda: Disc)).result(20) is Disc)
        try:
            push(Apply(lambda: [][Point(1).x])).result(20)
        except IndexError as error:
            print("IndexError", "Remote" in type(error.__cause__).__name__)
'''


@pytest.mark.slow
def test_lambdas_closures_local_and_main_classes_travel_both_ways(tmp_path):
    (tmp_path / "everything.py").write_text(EVERYTHING)

    run = run_program(sys.executable, tmp_path / "everything.py", cwd="/")

    assert run.stdout.splitlines() == [
        "True True 12", "7", "840", "42", "105", "True 8", "42", "True", "True", "True", "True", "IndexError True",
    ]  # fmt: skip


def make_job(folder):
    """Write a job of three files: a package, a helper beside it, and the script that starts it."""
    (folder / "shapes").mkdir(parents=True)
    (folder / "shapes" / "__init__.py").write_text("from shapes.cubes import Cube\n")
    (folder / "shapes" / "cubes.py").write_text(
        "import os\n"
        "from concurro import Task\n"
        "import helper\n"
        "class Cube(Task):\n"
        "    def __init__(self, n):\n"
        "        super().__init__(f'cube-{n}')\n"
        "        self.n = n\n"
        "    def __call__(self):\n"
        "        from helper import where\n"
        "        return helper.power(self.n), where()\n"
    )
    (folder / "helper.py").write_text(
        "import os, sys\n"
        "def power(n, exponent=3):\n"
        "    return n ** exponent\n"
        "def where():\n"
        "    seen = os.access(os.environ['JOB_FOLDER'] + '/helper.py', os.R_OK)\n"
        "    return os.getcwd(), sys.prefix, os.getuid(), seen\n"
    )
    (folder / "job.py").write_text(
        "import json, sys\n"
        "from concurro import ApplicationNode, LocalCluster, TaskSystem\n"
        "import helper\n"
        "from shapes import Cube\n"
        "class Cubes(TaskSystem):\n"
        "    def __init__(self, n=50):\n"
        "        super().__init__()\n"
        "        self.n, self.done, self.total, self.places = n, 0, 0, set()\n"
        "    def generate_tasks(self, master):\n"
        "        return (Cube(i) for i in range(self.n))\n"
        "    def task_finished(self, master, task, result, error):\n"
        "        if error is not None:\n"
        "            raise error\n"
        "        self.done += 1\n"
        "        self.total += result[0]\n"
        "        self.places.add(result[1])\n"
        "    def is_complete(self, master):\n"
        "        return self.done == self.n\n"
        "    def gather_result(self, master):\n"
        "        assert self.total == sum(helper.power(i) for i in range(self.n))\n"
        "        return (self.total, sorted(self.places)), None\n"
        "if __name__ == '__main__':\n"
        "    node = ApplicationNode(sys.argv[1]) if len(sys.argv) > 1 else LocalCluster(workers=1)\n"
        "    with node:\n"
        "        print(json.dumps(node.run(Cubes(), timeout=40)))\n"
    )
    return folder / "job.py"


CUBES = sum(n**3 for n in range(50))


def make_environment(folder, python=sys.executable):
    """Make another virtual environment that finds the installed packages of this one, without copying them."""
    run_program(python, "-m", "venv", "--without-pip", folder)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    roots = [sysconfig.get_path("purelib"), str(Path(concurro.__file__).parents[1])]
    (site / "borrowed.pth").write_text("\n".join(roots) + "\n")
    return folder / "bin" / "python"


def python_of_the_machine():
    """Return an interpreter of this version that every user may run, or else our own."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return shutil.which(name, path="/usr/bin:/usr/local/bin") or sys.executable


@contextlib.contextmanager
def open_folder():
    """Give a folder that every user of the machine may enter."""
    folder = Path(tempfile.mkdtemp(prefix="cq-open-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def may_nobody_run(python):
    """Say whether the user nobody can execute the interpreter and read what it needs."""
    try:
        run = subprocess.run([python, "-c", "import concurro"], user=NOBODY, group=NOBODY, cwd="/", check=False)
    except PermissionError:
        return False
    return run.returncode == 0


@pytest.mark.slow
def test_a_job_runs_on_a_slave_with_another_folder_environment_and_user(tmp_path, monkeypatch):
    if os.getuid() != 0:
        pytest.skip("only root can start a slave as another user")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    job = make_job(private / "job")
    with open_folder() as folder:
        python = make_environment(folder / "environment", python_of_the_machine())
        own = folder / "own"
        own.mkdir()
        os.chown(own, NOBODY, NOBODY)
        if not may_nobody_run(python):
            pytest.skip("the interpreter lies where another user cannot read it")
        with contextlib.ExitStack() as stack:
            master = {"listen": "tcp://127.0.0.1:0"}
            keys = KeyFolder(tmp_path / "keys")
            keys.create()
            keys.add("application", "me")
            key = shutil.move(keys.add("slave", "nobody"), own)
            os.chown(key, NOBODY, NOBODY)
            monkeypatch.setenv("CONCURRENT_SECURITY_KEYS", str(keys.path))
            _, url = stack.enter_context(master_process(folder, master=master, cwd="/"))
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": str(own),
                "TMPDIR": str(own),
                "JOB_FOLDER": str(job.parent),
                "CONCURRENT_SECURITY_KEYS": key,
            }
            slave = stack.enter_context(
                slave_process(url, python=[str(python)], cwd=own, user=NOBODY, group=NOBODY, env=environment)
            )
            slave_status = Path(f"/proc/{slave.pid}/status")
            wait_until(lambda: f"Uid:\t{NOBODY}" in slave_status.read_text(), 30, "the other user")

            run = run_program(sys.executable, job, url, cwd="/usr")
        total, places = json.loads(run.stdout)

    assert total == CUBES
    assert places == [[str(own), str(folder / "environment"), NOBODY, False]]


def may_mount():
    """Say whether we may hide a folder from a process."""
    run = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    )
    return run.returncode == 0


@pytest.mark.parametrize("hidden", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_job_runs_on_a_slave_with_another_folder_and_environment(tmp_path, runtime_folder, hidden):
    if hidden and not may_mount():
        pytest.skip("hiding a folder from one process needs a privilege that is not here")
    job = make_job(tmp_path / "job")
    python = make_environment(tmp_path / "environment")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    hide = f'mount -t tmpfs none {job.parent} && exec {python} "$@"'
    with (
        master_process(runtime_folder, cwd="/") as (_, url),
        slave_process(
            url,
            python=["unshare", "--mount", "sh", "-c", hide, "sh"] if hidden else [str(python)],
            cwd=elsewhere,
            env={**os.environ, "JOB_FOLDER": str(job.parent)},
        ),
    ):
        run = run_program(sys.executable, job, url, cwd="/usr")
    total, places = json.loads(run.stdout)

    assert total == CUBES
    assert places == [[str(elsewhere), str(tmp_path / "environment"), os.getuid(), not hidden]]


@pytest.mark.slow
def test_a_job_runs_with_256_descriptors(tmp_path):
    job = make_job(tmp_path / "job")

    run = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -n 256; exec {sys.executable} {job}"],
        capture_output=True, text=True, timeout=60, check=False, cwd="/", env={**os.environ, "JOB_FOLDER": "/"},
    )  # fmt: skip

    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)[0] == CUBES


LARGE = """
import numpy as np
from concurro import LocalCluster, Task

class Doubled(Task):
    def __init__(self, values):
        super().__init__("doubled")
        self.values = values
    def __call__(self):
        return self.values * 2

if __name__ == "__main__":
    with LocalCluster(workers=2) as cluster:
        arrays = [np.full(3_000_000, float(n)) for n in range(6)]
        futures = cluster.push_tasks(Doubled(array) for array in arrays)
        print([float(future.result(60).sum()) for future in futures])
"""


@pytest.mark.slow
def test_large_arrays_travel_where_shared_memory_has_64_megabytes(tmp_path):
    (tmp_path / "large.py").write_text(LARGE)
    script = (
        f"mount -t tmpfs -o size=64m tmpfs /dev/shm && df --output=size -B1 /dev/shm >&2 && "
        f"exec {sys.executable} {tmp_path / 'large.py'}"
    )

    run = subprocess.run(
        ["unshare", "--mount", "/bin/sh", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    if "unshare" in run.stderr or "mount:" in run.stderr:
        pytest.skip("mounting needs a privilege that is not here")

    assert run.returncode == 0, run.stderr
    assert str(64 * 1024**2) in run.stderr
    assert run.stdout.strip() == str([6_000_000.0 * n for n in range(6)])
