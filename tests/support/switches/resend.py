"""Without resend: over another connection, and when asked, nothing is said again."""


def say_nothing_again(module):
    module.LastingSession._again = lambda session: []


def be_impatient(module):
    """Find a result that never comes missing soon."""
    wait = module.LoopFuture.result
    module.LoopFuture.result = lambda future, timeout=None: wait(future, min(timeout or 5.0, 5.0))


PATCHES = {"concurro.wire.session": say_nothing_again, "concurro.nodes.futures": be_impatient}
