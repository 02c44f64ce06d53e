"""Without a bound for the calls that wait for a tessera."""


def take_all(module):
    construct = module.Tessera.__init__

    def unbounded(self, home, uid, incarnation, options, creator):
        construct(self, home, uid, incarnation, {**options, "max_pending": None}, creator)

    module.Tessera.__init__ = unbounded


PATCHES = {"concurro_tessera.residents": take_all}
