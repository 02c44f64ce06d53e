"""The constructor of a task system is filled from texts, by its annotations."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pytest

from concurro import TaskSystem
from concurro.cli.outcomes import CommandFailure
from concurro.cli.parameters import build_system, parameters_of, parse_value

if TYPE_CHECKING:
    from decimal import Decimal


class Colour(Enum):
    RED = "red"
    DARK_BLUE = "dark-blue"


class Sweep(TaskSystem):
    def __init__(
        self, n: int, rate: float = 0.5, label="run", sizes: list[int] | None = None, limit=3, grid=(1.0, 2.0)
    ):
        super().__init__()
        self.values = {"n": n, "rate": rate, "label": label, "sizes": sizes, "limit": limit, "grid": grid}


class Plain(TaskSystem):
    """Has no parameters."""


class Strict(TaskSystem):
    def __init__(self, n: int = 1):
        super().__init__()
        if n < 0:
            message = f"n must not be negative, got {n}"
            raise ValueError(message)


class Anything(TaskSystem):
    def __init__(self, **settings: str):
        super().__init__()
        self.settings = settings


class Priced(TaskSystem):
    def __init__(self, price: Decimal | None = None, table: bytearray = None):  # noqa: RUF013
        super().__init__()
        self.price = price


class Positional(TaskSystem):
    def __init__(self, n: int, /, *, m: int = 2):
        super().__init__()
        self.values = (n, m)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "12", 12),
        (int, "-1_000", -1000),
        (int, "1e6", 1_000_000),
        (int, "0x10", 16),
        (float, "1e-3", 0.001),
        (float, "2", 2.0),
        (bool, "true", True),
        (bool, "Off", False),
        (str, "12", "12"),
        (str, "a=b, c", "a=b, c"),
        (Any, "x", "x"),
        (Path, "some/file", Path("some/file")),
        (int | None, "none", None),
        (int | None, "7", 7),
        (Optional[float], "7", 7.0),  # noqa: UP045 - people write it so
        (int | str, "seven", "seven"),
        (str | int, "7", 7),
        (list[int], "1,2, 3", [1, 2, 3]),
        (list[int], "", []),
        (list, "a,b", ["a", "b"]),
        (tuple[int, ...], "1,2", (1, 2)),
        (tuple[int, str], "1,b", (1, "b")),
        (set[str], "a,b,a", {"a", "b"}),
        (Literal["fast", "slow"], "slow", "slow"),
        (Literal[1, 2], "2", 2),
        (Colour, "red", Colour.RED),
        (Colour, "DARK_BLUE", Colour.DARK_BLUE),
        (Annotated[int, "how many"], "3", 3),
    ],
)
def test_a_text_becomes_a_value_of_the_type(kind, text, value):
    parsed = parse_value(kind, text)

    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "ten"),
        (int, "1.5"),
        (float, "much"),
        (bool, "maybe"),
        (list[int], "1,x"),
        (tuple[int, int], "1"),
        (Literal["fast", "slow"], "medium"),
        (Colour, "green"),
        (int | None, "some"),
    ],
)
def test_a_text_that_does_not_fit_is_refused(kind, text):
    with pytest.raises(ValueError, match=r".+"):
        parse_value(kind, text)


def test_parameters_are_filled_by_annotation_or_by_the_type_of_the_default():
    system = build_system(Sweep, ["n=3", "rate=2", "label=7", "sizes=4,5", "limit=9", "grid=3,4.5"])

    assert system.values == {
        "n": 3,
        "rate": 2.0,
        "label": "7",
        "sizes": [4, 5],
        "limit": 9,
        "grid": (3.0, 4.5),
    }


def test_the_last_of_two_values_counts():
    assert build_system(Sweep, ["n=3", "n=4"]).values["n"] == 4


def test_a_value_may_hold_an_equals_sign():
    assert build_system(Sweep, ["n=3", "label=a=b"]).values["label"] == "a=b"


def test_the_configuration_gives_defaults_and_the_command_line_wins():
    system = build_system(Sweep, ["rate=1"], {"n": 5, "rate": 3.0, "sizes": [1], "label": "from file"})

    assert (system.values["n"], system.values["rate"]) == (5, 1.0)
    assert (system.values["sizes"], system.values["label"]) == ([1], "from file")


def test_a_whole_number_in_a_file_serves_a_float():
    system = build_system(Sweep, ["n=1"], {"rate": 3})

    assert system.values["rate"] == 3.0
    assert isinstance(system.values["rate"], float)


def test_keywords_of_any_name_are_passed_as_texts():
    assert build_system(Anything, ["colour=red"]).settings == {"colour": "red"}


def test_a_positional_parameter_is_filled_too():
    assert build_system(Positional, ["n=4", "m=5"]).values == (4, 5)


def test_an_unknown_parameter_is_answered_with_the_closest_and_the_list():
    with pytest.raises(CommandFailure) as caught:
        build_system(Sweep, ["n=1", "rats=2"])

    text = caught.value.message
    assert "Sweep has no parameter 'rats'; did you mean 'rate'?" in text
    assert "  n: int\n" in text
    assert "  rate: float = 0.5\n" in text
    assert caught.value.exit_code == 2


def test_a_system_without_parameters_says_so():
    with pytest.raises(CommandFailure, match=r"Plain has no parameter 'n'\. It takes none"):
        build_system(Plain, ["n=1"])


def test_a_wrong_value_names_parameter_type_and_value():
    with pytest.raises(CommandFailure, match=r"parameter 'n' of Sweep is of type int, got 'ten'"):
        build_system(Sweep, ["n=ten"])


def test_missing_parameters_are_listed_with_their_types():
    with pytest.raises(CommandFailure, match=r"Sweep needs a value for:\n  -p n=\.\.\.   \(int\)"):
        build_system(Sweep, [])


def test_a_parameter_without_a_value_is_refused():
    with pytest.raises(CommandFailure, match="-p n: write NAME=VALUE"):
        build_system(Sweep, ["n"])


def test_a_type_that_no_text_can_be_is_refused():
    with pytest.raises(CommandFailure, match=r"parameter 'table' of Priced is a bytearray, which -p cannot give"):
        build_system(Priced, ["table=x"])


def test_an_annotation_for_type_checkers_only_does_not_stop_the_others():
    system = build_system(Priced, ["price=3.5"])

    assert system.price == "3.5"


def test_a_constructor_that_raises_shows_its_own_lines_only():
    with pytest.raises(CommandFailure) as caught:
        build_system(Strict, ["n=-1"])

    text = caught.value.message
    assert text.startswith("Strict could not be constructed:")
    assert text.endswith("ValueError: n must not be negative, got -1")
    assert "cli/parameters.py" not in text


def test_parameters_are_listed_as_people_write_them():
    assert [str(each) for each in parameters_of(Strict)] == ["n: int = 1"]
