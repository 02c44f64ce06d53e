"""Without looking for circles of calls that wait for each other."""


def look_nowhere(module):
    module.Task.probe = lambda self, origin: None


PATCHES = {"concurro_tessera.calls": look_nowhere}
