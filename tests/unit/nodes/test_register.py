"""What a master notes of its peers for people."""

from __future__ import annotations

from concurro.nodes.register import MOST_APPLICATIONS, Register


def status(*applications):
    systems = [{"application": client} for client in applications]
    return {"slaves": [{"id": "north-1"}], "systems": systems}


def test_a_slave_is_told_since_when_it_is_here():
    register = Register()
    register.slave_joined("north-1", "north", 100.0)

    (slave,) = register.completed(status(), 107.5)["slaves"]

    assert slave == {"id": "north-1", "connected": 7.5, "key": "north"}


def test_a_slave_that_left_and_came_again_counts_anew():
    register = Register()
    register.slave_joined("north-1", "north", 100.0)
    register.slave_left("north-1")
    register.slave_joined("north-1", "", 105.0)

    (slave,) = register.completed(status(), 106.0)["slaves"]

    assert (slave["connected"], slave["key"]) == (1.0, "")


def test_a_system_names_who_submitted_it_also_when_that_has_left():
    register = Register()
    register.application_joined("c1", "ada", "desk", 77)

    known, stranger = register.completed(status("c1", "c2"), 1.0)["systems"]

    assert known["owner"] == {"key": "ada", "host": "desk", "pid": 77}
    assert stranger["owner"] is None


def test_the_register_of_applications_has_a_bound():
    register = Register()

    for number in range(MOST_APPLICATIONS + 1):
        register.application_joined(f"c{number}", "", "desk", number)

    first, second = register.completed(status("c0", "c1"), 1.0)["systems"]
    assert first["owner"] is None
    assert second["owner"]["pid"] == 1
