"""Classes and functions by value: what they do, and that they stay themselves."""

from __future__ import annotations

import enum
import gc
import sys
import types
import weakref
from dataclasses import dataclass

import pytest

from concurro.errors import ContractError, NotPicklableError
from concurro.interfaces import Interface, implementer
from concurro.kernel.declarations import declare
from concurro.task import Task
from concurro.wire.blobs import BlobStore
from concurro.wire.messages import BlobPurpose
from concurro.wire.payload import Packer
from concurro.wire.reach import circles
from concurro.wire.travelling import Travelling


@pytest.fixture
def other(packer):
    """A process that shares nothing with `packer`."""
    return Packer(BlobStore(), Travelling())


@pytest.fixture
def send(packer, other, give_blobs):
    def send(value):
        payload, blobs = packer.dumps(value)
        give_blobs(packer, other, blobs)
        return other.loads(payload, blobs)

    return send


@pytest.fixture
def send_back(packer, other, give_blobs):
    def send_back(value):
        payload, blobs = other.dumps(value)
        give_blobs(other, packer, blobs)
        return packer.loads(payload, blobs)

    return send_back


def define(code: str) -> dict:
    """Return the names of a prompt at which `code` was typed."""
    prompt = {"__name__": "__main__"}
    exec(code, prompt)  # noqa: S102 - a prompt executes what is typed
    return prompt


def test_lambdas_and_closures_travel(send):
    offset = 5

    arrived = send(lambda n: n + offset)

    assert arrived(1) == 6


def test_a_recursive_function_travels(send):
    fac = define("def fac(n):\n    return 1 if n < 2 else n * fac(n - 1)\n")["fac"]

    arrived = send(fac)

    assert arrived(5) == 120


def test_a_recursive_closure_travels(send):
    def fac(n):
        return 1 if n < 2 else n * fac(n - 1)

    arrived = send(fac)

    assert arrived(5) == 120


def test_a_local_class_keeps_its_identity_both_ways(send, send_back):
    class Local:
        def make(self):
            return Local()

    arrived = send(Local())
    made_there = arrived.make()
    returned = send_back(made_there)

    assert type(arrived) is not Local
    assert type(made_there) is type(arrived)
    assert type(returned) is Local


def test_what_was_loaded_goes_with_its_last_reference(send):
    class Local:
        pass

    gc.collect()
    gc.disable()
    try:
        loaded = send([Local()])
        watched = weakref.ref(loaded[0])
        del loaded

        assert watched() is None
    finally:
        gc.enable()


def test_the_same_class_in_two_payloads_is_rebuilt_once(send):
    class Local:
        pass

    first, second = send(Local()), send([Local()])[0]

    assert type(first) is type(second)


def test_super_enums_and_dataclasses_travel(send):
    class Colour(enum.Enum):
        RED = 1

    @dataclass(frozen=True)
    class Point:
        x: int
        colour: Colour = Colour.RED

    class Base:
        def who(self):
            return ["base"]

    class Derived(Base):
        def who(self):
            return [*super().who(), "derived"]

    point, derived = send((Point(3), Derived()))

    assert repr(point).endswith("Point(x=3, colour=<Colour.RED: 1>)")
    assert point == type(point)(3)
    assert derived.who() == ["base", "derived"]


def test_enum_members_come_back_as_themselves(send, send_back):
    class Colour(enum.Enum):
        RED = 1

    returned = send_back(send(Colour.RED))

    assert returned is Colour.RED


def test_classes_that_refer_to_one_another_travel(send):
    names = define(
        "class Node:\n    def leaf(self):\n        return Leaf()\n"
        "class Leaf(Node):\n    def root(self):\n        return Node()\n"
    )

    arrived = send(names["Node"]())

    leaf = arrived.leaf()
    assert isinstance(leaf, type(arrived))
    assert type(leaf.root()) is type(arrived)


def test_functions_of_one_unit_share_the_globals_that_they_change(send):
    names = define(
        "cache = {}\n"
        "def load():\n    global model\n    model = 42\n    cache['model'] = model\n"
        "class Job:\n    def run(self):\n        load()\n        return model, cache\n"
        "model = None\n"
    )

    arrived = send(names["Job"]())

    assert arrived.run() == (42, {"model": 42})


def test_two_units_have_their_own_copies_of_a_mutable_global(send):
    # As documented in wire/code.py; a change to it is a change of the contract.
    names = define(
        "seen = []\n"
        "class One:\n    def add(self):\n        seen.append(1)\n        return seen\n"
        "class Two:\n    def look(self):\n        return seen\n"
    )
    one, two = send((names["One"](), names["Two"]()))

    one.add()

    assert one.add() == [1, 1]
    assert two.look() == []


def test_a_global_that_was_bound_anew_travels_anew(packer, send):
    names = define("LIMIT = 1\ndef limit():\n    return LIMIT\n")
    before = send(names["limit"])
    names["LIMIT"] = 2

    after = send(names["limit"])

    assert (before(), after()) == (1, 2)


def test_a_changed_class_attribute_travels_after_a_refresh(packer, send):
    class Settings:
        limit = 1

    before = send(Settings)
    Settings.limit = 2
    packer.code.refresh()

    after = send(Settings)

    assert (before.limit, after.limit) == (1, 2)


def test_a_bound_method_travels_with_its_object(send):
    class Counter:
        def __init__(self):
            self.n = 0

        def up(self):
            self.n += 1
            return self.n

    arrived = send(Counter().up)

    assert (arrived(), arrived()) == (1, 2)


def test_a_class_with_interfaces_declares_them_again(send):
    class IGreeter(Interface):
        def greet(name):  # noqa: N805 - a method of an interface has no self
            """Greet."""

    @implementer(IGreeter)
    class Greeter:
        def greet(self, name):
            return f"hello {name}"

    interface, greeter = send((IGreeter, Greeter()))

    assert interface is not IGreeter
    assert interface.providedBy(greeter)
    assert greeter.greet("you") == "hello you"


def test_an_arrived_class_that_breaks_its_interface_is_refused():
    class IGreeter(Interface):
        def greet(name):  # noqa: N805 - a method of an interface has no self
            """Greet."""

    class Silent:
        pass

    with pytest.raises(ContractError, match="greet"):
        declare(Silent, (IGreeter,))


def test_a_class_that_can_be_imported_travels_by_name(packer):
    payload, blobs = packer.dump_task_class(Task)

    assert b"concurro.task" in payload
    assert blobs == []


def test_a_task_of_a_local_class_works_where_it_arrives(packer, other, give_blobs):
    class Square(Task):
        def __init__(self, n):
            super().__init__(f"square-{n}")
            self.n = n

        def __call__(self):
            return self.n**2

    code = packer.dump_task_class(Square)
    payload, blobs = packer.dump_task(Square(3))
    give_blobs(packer, other, code[1])

    task = other.load_task(other.load_task_class(*code), payload, blobs)

    assert blobs is None
    assert task() == 9


def test_a_function_used_twice_travels_once(packer):
    def local(n):
        return n

    first = packer.dumps(local)
    second = packer.dumps(local)
    third = packer.dumps(local)

    assert first[1] is None
    assert [purpose for purpose, _, _ in second[1]] == [BlobPurpose.CODE]
    assert third == second


def test_code_is_forgotten_with_what_it_defined(packer):
    def make():
        class Local:
            pass

        return Local

    cls = make()
    _, blobs = packer.dumps(cls)
    alive = weakref.ref(cls)
    digest = blobs[0][1]
    del cls
    gc.collect()

    packer.blobs.put(b"x" * 10, "other")

    assert alive() is None
    assert packer.code.unit(digest) is None
    assert packer.blobs.cached >= blobs[0][2]


def test_missing_code_is_named_when_a_value_is_loaded_without_it(packer, other):
    class Local:
        pass

    payload, blobs = packer.dumps(Local())

    with pytest.raises(Exception, match="did not arrive"):
        other.loads(payload, blobs)


def test_a_module_that_ship_names_travels_with_its_classes(monkeypatch, give_blobs, other):
    module = types.ModuleType("shipped_module")
    exec("class Point:\n    def __init__(self, x):\n        self.x = x\n", module.__dict__)  # noqa: S102 - a module's body
    monkeypatch.setitem(sys.modules, "shipped_module", module)
    sender = Packer(BlobStore(), Travelling(ship=["shipped_module"]))

    payload, blobs = sender.dumps(module.Point(4))
    give_blobs(sender, other, blobs)
    arrived = other.loads(payload, blobs)

    assert arrived.x == 4
    assert type(arrived) is not module.Point


@pytest.mark.parametrize(
    ("reached", "expected"),
    [
        ({1: [2], 2: []}, [[2], [1]]),
        ({1: [2], 2: [1]}, [[1, 2]]),
        ({1: [2, 3], 2: [3], 3: [2], 4: [1]}, [[2, 3], [1], [4]]),
    ],
)
def test_circles_come_before_those_that_need_them(reached, expected):
    assert [sorted(circle) for circle in circles(reached)] == expected


def test_what_is_the_same_after_a_refresh_travels_unchanged(packer):
    prompt = define("table = [1]\ndef call():\n    return table\n")
    class_of_calls = type("Calls", (Task,), {"function": staticmethod(prompt["call"]), "__module__": "__main__"})
    packer.dumps(class_of_calls)
    unit = packer.code.reference(class_of_calls).unit

    packer.code.refresh()
    unchanged = packer.code.travels_unchanged(class_of_calls)
    prompt["table"] = [1]
    rebound = packer.code.travels_unchanged(class_of_calls)

    assert unchanged
    assert rebound
    assert packer.code.known(class_of_calls).unit is unit  # not one more


def test_what_changed_before_a_refresh_does_not_travel_unchanged(packer):
    prompt = define("table = [1]\ndef call():\n    return table\n")
    packer.dumps(prompt["call"])

    prompt["table"].append(2)
    before_the_refresh = packer.code.travels_unchanged(prompt["call"])
    packer.code.refresh()

    assert before_the_refresh  # nobody looks into a list at each call
    assert not packer.code.travels_unchanged(prompt["call"])


def test_what_cannot_travel_any_more_or_never_did_does_not_travel_unchanged(packer):
    prompt = define("table = [1]\ndef call():\n    return table\ndef other():\n    return 1\n")
    packer.dumps(prompt["call"])

    prompt["table"] = iter([1]), sys._getframe()

    assert not packer.code.travels_unchanged(prompt["call"])
    assert not packer.code.travels_unchanged(prompt["other"])


def test_large_buffers_of_code_that_does_not_travel_are_kept_by_nobody(packer):
    names = define(
        """
import pickle, threading
class Large:
    def __reduce_ex__(self, protocol):
        return bytearray, (pickle.PickleBuffer(bytearray(200_000)),)
class Odd:
    lock = threading.Lock()
class Job:
    table = Large()
    other = Odd
"""
    )

    with pytest.raises(NotPicklableError):
        packer.dumps(names["Job"]())

    assert packer.blobs.total == packer.blobs.cached
