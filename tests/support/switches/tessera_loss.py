"""Without telling open calls that their worker is gone."""


def tell_nobody(module):
    module.Caller.way_lost = lambda self, way, error: None


PATCHES = {"concurro_tessera.callers": tell_nobody}
