"""Without constructing a lost tessera again."""


def give_up(module):
    place = module.Seat.place

    def once(self, packed, options, runtime):
        place(self, packed, {**options, "restarts": 0}, runtime)

    module.Seat.place = once


PATCHES = {"concurro_tessera.proxies": give_up}
