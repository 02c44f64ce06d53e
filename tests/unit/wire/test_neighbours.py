"""Scripts and their neighbour modules, unpacked where none of their files are."""

from __future__ import annotations


def test_a_main_class_with_its_functions_and_globals_runs_elsewhere(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "FACTOR = 3\n"
        "def scaled(n):\n    return FACTOR * n\n"
        "class Job:\n    def __init__(self):\n        self.n = 7\n    def run(self):\n        return scaled(self.n)\n"
        "value = Job()\n"
    )

    printed = unpack_elsewhere("print(value.run())", packed)

    assert printed == "21"


def test_a_neighbour_module_travels_with_globals_set_at_run_time(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "import helper\nhelper.LIMIT = 41\n"
        "class Job:\n    def run(self):\n        return helper.above()\nvalue = Job()\n",
        {"helper": "LIMIT = 0\ndef above():\n    return LIMIT + 1\n"},
    )

    printed = unpack_elsewhere("print(value.run())", packed)

    assert printed == "42"


def test_functions_and_module_object_share_the_globals_of_a_neighbour(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "import helper\n"
        "class Job:\n    def run(self):\n        helper.LIMIT = 5\n        return helper.above(), helper.LIMIT\n"
        "value = Job()\n",
        {"helper": "LIMIT = 0\ndef above():\n    return LIMIT + 1\n"},
    )

    printed = unpack_elsewhere("print(value.run())", packed)

    assert printed == "(6, 5)"


def test_globals_that_nothing_uses_may_be_unpicklable(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "import helper\nclass Job:\n    def run(self):\n        return helper.one()\nvalue = Job()\n",
        {"helper": "import threading\nguard = threading.Lock()\nlog = open(__file__)\ndef one():\n    return 1\n"},
    )

    printed = unpack_elsewhere("print(value.run())", packed)

    assert printed == "1"


def test_an_import_inside_a_function_finds_a_module_that_was_never_imported(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "class Job:\n    def run(self):\n"
        "        import late\n        from late import two\n        return late.one() + two()\n"
        "value = Job()\n",
        {"late": "import deeper\ndef one():\n    return deeper.ONE\ndef two():\n    return 2\n", "deeper": "ONE = 1\n"},
    )

    printed = unpack_elsewhere("import sys; print(value.run(), 'late' in sys.modules)", packed)

    assert printed == "3 False"


def test_an_import_inside_a_function_sees_the_loaded_module_as_it_was(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "import helper\nhelper.LIMIT = 9\n"
        "class Job:\n    def run(self):\n        import helper as again\n        return again.LIMIT\n"
        "value = Job()\n",
        {"helper": "LIMIT = 0\n"},
    )

    printed = unpack_elsewhere("print(value.run())", packed)

    assert printed == "9"


def test_packages_with_relative_imports_and_dataclasses_come_as_source(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "class Job:\n    def run(self):\n        from pack.shapes import Circle\n        return Circle(2).area()\n"
        "value = Job()\n",
        {
            "pack/__init__": "",
            "pack/shapes": (
                "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom .numbers import PI\n"
                "@dataclass\nclass Circle:\n    r: float\n    def area(self):\n        return PI * self.r ** 2\n"
            ),
            "pack/numbers": "PI = 3\n",
        },
    )

    printed = unpack_elsewhere("print(value.run())", packed)

    assert printed == "12"


def test_two_jobs_with_different_modules_of_one_name_do_not_meet(pack_in_script, unpack_elsewhere):
    main = (
        "import helper\n"
        "class Job:\n    def run(self):\n        import late\n        return helper.name(), late.NAME\n"
        "value = Job()\n"
    )
    first = pack_in_script(main, {"helper": "def name():\n    return 'a'\n", "late": "NAME = 'A'\n"})
    second = pack_in_script(main, {"helper": "def name():\n    return 'b'\n", "late": "NAME = 'B'\n"})

    printed = unpack_elsewhere("print([value.run() for value in values + values[::-1]])", first, second)

    assert printed == "[('a', 'A'), ('b', 'B'), ('b', 'B'), ('a', 'A')]"


def test_a_class_of_a_source_module_travels_on_by_name(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "class Job:\n    def run(self):\n        from late import Point\n        return Point(3)\nvalue = Job()\n",
        {"late": "class Point:\n    def __init__(self, x):\n        self.x = x\n"},
    )

    printed = unpack_elsewhere(
        "point = value.run()\nagain = packer.loads(*packer.dumps(point))\nprint(type(again) is type(point), again.x)",
        packed,
    )

    assert printed == "True 3"


def test_a_missing_attribute_of_a_module_comes_from_its_source(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "import helper\n"
        "class Job:\n    def run(self):\n        return getattr(helper, ''.join(['hid', 'den']))()\n"
        "value = Job()\n",
        {"helper": "def hidden():\n    return 'found'\ndef other():\n    pass\n"},
    )

    printed = unpack_elsewhere("print(value.run())", packed)

    assert printed == "found"


def test_both_spellings_of_a_system_in_main_travel(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "from concurro.interfaces import ITaskSystem\nfrom concurro.system import TaskSystem\n"
        "class One(ITaskSystem):\n"
        "    def is_complete(self, master):\n        return super().get_system_id() == self.system_id\n"
        "class Two(TaskSystem):\n"
        "    def is_complete(self, master):\n        return super().get_system_id() == self.system_id\n"
        "value = [One(), Two()]\n"
    )

    printed = unpack_elsewhere(
        "from concurro.interfaces import ITaskSystem\n"
        "print([(ITaskSystem.providedBy(each), each.is_complete(None)) for each in value])",
        packed,
    )

    assert printed == "[(True, True), (True, True)]"


def test_what_is_defined_at_a_prompt_travels(packer, give_blobs):
    prompt = {"__name__": "__main__"}
    exec(  # noqa: S102 - a prompt executes what is typed
        "from concurro.interfaces import ITaskSystem\n"
        "STEP = 4\n"
        "class Job(ITaskSystem):\n    def gather_result(self, master):\n        return STEP, None\n",
        prompt,
    )
    payload, blobs = packer.dumps(prompt["Job"]())
    receiver = type(packer)(type(packer.blobs)(), type(packer._travelling)())
    give_blobs(packer, receiver, blobs)

    system = receiver.loads(payload, blobs)

    assert system.gather_result(None) == (4, None)
    assert type(system) is not prompt["Job"]


def test_a_folder_without_init_is_a_package_of_its_modules(pack_in_script, unpack_elsewhere):
    packed = pack_in_script(
        "class Job:\n    def run(self):\n        import tools.deep.one\n        return tools.deep.one.ONE\n"
        "value = Job()\n",
        {"tools/deep/one": "ONE = 1\n"},
    )

    printed = unpack_elsewhere("print(value.run())", packed)

    assert printed == "1"
