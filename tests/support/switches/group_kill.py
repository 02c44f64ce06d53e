"""Without the kill of process groups: only the worker itself is killed, what it started goes on."""

import os


def kill_one(module):
    os.killpg = os.kill
    module.Launcher._kill_adopted = lambda launcher: None


def be_impatient(module):
    """Find what does not end still there soon."""
    wait = module.wait_until

    def wait_less(predicate, timeout=10.0, what="the condition"):
        in_vain = what.startswith("the end of") or "processes of" in what or "to be gone" in what
        return wait(predicate, min(timeout, 1.0) if in_vain else timeout, what)

    module.wait_until = wait_less


PATCHES = {"concurro.execution.launcher": kill_one, "tests.support.waiting": be_impatient}
