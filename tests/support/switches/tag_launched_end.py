"""Without ending a launched slave with who launched it."""


def watch_nobody(module):
    module._end_with_input = lambda: None


PATCHES = {"concurro_tagqueue.slave_program": watch_nobody}
