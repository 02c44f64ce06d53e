"""Without the end of the workers for services of a slave that lost its master."""


def keep_them(module):
    module.Staff.dismiss = lambda self: None


PATCHES = {"concurro.execution.staff": keep_them}
