"""Without handing back the task of a slave that is interrupted: it counts as what the task raised."""


def store_interruption(module):
    attempt = module._Attempt
    attempt._hand_back = lambda self: self._store_exception(KeyboardInterrupt())


PATCHES = {"concurro_tagqueue.slave_process": store_interruption}
