"""Tasks that misbehave, each in its own way."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

from concurro.task import Task

_LEFT = []


class Call(Task):
    """Calls a function of this module."""

    def __init__(self, function, *arguments, **fields):
        super().__init__(function.__name__, **fields)
        self.function = function
        self.arguments = arguments

    def __call__(self):
        return self.function(*self.arguments)


class TwoArgumentError(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class ExitingError(Exception):
    """Ends whoever pickles it."""

    def __reduce__(self):
        sys.exit(3)


class UnpicklableError(Exception):
    """Refuses to be pickled."""

    def __reduce__(self):
        message = "not me"
        raise TypeError(message)


class Unpicklable:
    """Holds what cannot travel."""

    def __init__(self):
        self.lock = threading.Lock()


def process_id():
    """Return which process runs this."""
    return os.getpid()


def raise_two_argument_error():
    raise TwoArgumentError(*["this", "that"])


def raise_exiting_error():
    message = "its reduce exits"
    raise ExitingError(message)


def raise_unpicklable_error():
    message = "its reduce raises"
    raise UnpicklableError(message)


def return_a_lock():
    return {"parts": [1, Unpicklable()]}


def recurse():
    return recurse()


def interrupt():
    raise KeyboardInterrupt


def read_address_zero():
    print("about to read address zero")
    ctypes.string_at(0)


def exit_at_once(code):
    os._exit(code)


def kill_itself(number):
    os.kill(os.getpid(), number)


def kill_parent():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def crash_until(path, attempts):
    """Die at each of the first attempts."""
    with Path(path).open("a") as file:
        file.write("x")
    if Path(path).stat().st_size <= attempts:
        os._exit(1)
    return "survived"


def hold_memory(size, seconds):
    held = bytearray(size)
    time.sleep(seconds)
    return len(held)


def leave_memory(size):
    """Leave memory behind in the process."""
    _LEFT.append(bytearray(size))
    return os.getpid()


def grow_afterwards(size):
    """Let the process grow when the task has ended."""

    def grow():
        time.sleep(0.02)
        leave_memory(size)

    threading.Thread(target=grow, daemon=True).start()


def stop_itself_once(path):
    """Stop the worker, the first time."""
    if not Path(path).exists():
        Path(path).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


def hold_the_interpreter(seconds):
    """Wait in C without letting anybody else run."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))


def fork_a_child_that_lives_on(path):
    """Leave a child that would answer as well, and one that sleeps."""
    if os.fork() == 0:
        return "second result"
    sleeper = subprocess.Popen(["sleep", "1000"])
    detached = subprocess.Popen(["sh", "-c", "setsid sleep 1001 & echo $!"], stdout=subprocess.PIPE)
    escaped = int(detached.stdout.readline())
    Path(path).write_text(f"{sleeper.pid} {escaped}")
    return "first result"


def leave_a_thread():
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return threading.active_count()


def square(number):
    return number**2


def use_multiprocessing(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, [1, 2, 3])


def print_much(lines):
    for _ in range(lines):
        print("x" * 100)
    print("to stderr", file=sys.stderr)
    return lines


def close_descriptors():
    os.closerange(3, 65536)
    return "closed"


def channels():
    """Return the sockets of the worker, that for its work first."""
    entries = list(Path("/proc/self/fd").iterdir())
    return sorted(int(entry.name) for entry in entries if entry.exists() and stat.S_ISSOCK(entry.stat().st_mode))


def write_on_the_channel(written):
    """Speak for the worker, and never return."""
    for channel in channels():
        os.write(channel, written)
    time.sleep(60)


def write_on_the_work_channel(written):
    """Speak for the worker where it brings results, and never return."""
    os.write(channels()[0], written)
    time.sleep(60)


def change_the_process():
    os.chdir("/")
    os.environ["CONCURRO_CHANGED"] = "yes"
    os.umask(0o007)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 1000)
    return os.getpid()


def take_the_nudge(how):
    """Do with the worker's own signal what a task may do with any."""
    if how == "ignore":
        signal.signal(signal.SIGURG, signal.SIG_IGN)
    elif how == "default":
        signal.signal(signal.SIGURG, signal.SIG_DFL)
    elif how == "take":
        signal.signal(signal.SIGURG, lambda number, frame: None)
    elif how == "block":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])
    return os.getpid()


def take_the_nudge_and_wait(path):
    take_the_nudge("take")
    return wait_for(path)


def look_at_the_nudge():
    """Return who runs this, who takes the worker's own signal, and whether it is blocked."""
    taker = signal.getsignal(signal.SIGURG)
    blocked = signal.SIGURG in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return os.getpid(), getattr(taker, "__qualname__", repr(taker)), blocked


def fork_and_nudge_the_child(how, path):
    """Fork; the child gets the worker's own signal, sees that it was served, and lives on."""
    fork = {"python": os.fork, "native": ctypes.PyDLL(None).fork}[how]
    read_end, write_end = os.pipe()
    child = fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGURG)
        os.write(write_end, b"served")
        wait_for(path)
        return "second result"
    served = os.read(read_end, 6)
    os.close(read_end)
    os.close(write_end)
    return served.decode()


def look_at_the_process():
    mask = os.umask(0)
    os.umask(mask)
    return (
        str(Path.cwd()),
        os.environ.get("CONCURRO_CHANGED"),
        mask,
        signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL,
        signal.getitimer(signal.ITIMER_REAL)[0],
    )


def look_around():
    """Return what a task sees of its process."""
    main = sys.modules["__main__"]
    descriptors = sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    return {
        "main": sorted(name for name in vars(main) if not name.startswith("__")),
        "file": getattr(main, "__file__", None),
        "argv": sys.argv,
        "stdin": sys.stdin.read(),
        "descriptors": descriptors,
        "threads": threading.active_count(),
        "zmq": "zmq" in sys.modules,
        "group": os.getpgid(0) == os.getpid(),
    }


def import_what_is_not_there():
    import no_such_module_of_ours  # noqa: F401


def wait_for(path):
    """Wait until a file appears."""
    Path(path + ".started").write_text(str(os.getpid()))
    while not Path(path).exists():
        time.sleep(0.005)
    return os.getpid()


def echo(value):
    return value
