"""Every example gives its known answer, in any order of completion, without any process."""

from __future__ import annotations

import random
from itertools import islice
from math import atan
from typing import TYPE_CHECKING

import pytest

from concurro import LocalCluster
from tests.support.programs import load_example
from tests.support.serial import SerialMaster, run_serially

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = (0, 1, 2)
BLACK_SCHOLES = 10.450583572185565
MISRA1A = (238.94212918, 5.5015643181e-4, 0.12455138894)


def make(example: str, system: str, **parameters: object):
    """Construct a system of an example."""
    return getattr(load_example(example), system)(**parameters)


def test_the_printed_example_adds_the_squares():
    result = run_serially(make("sum_of_squares", "SumOfSquares", n=1000))

    assert result == (sum(i * i for i in range(1000)), None)


@pytest.mark.slow
def test_reverse_md5_finds_the_number_and_stops_early():
    system = make("reverse_md5", "ReverseMD5")

    result = run_serially(system)

    assert result == (1763965, None)


def test_reverse_md5_searches_every_number_once():
    system = make("reverse_md5", "ReverseMD5", total=1000, jobs=7)

    tasks = list(system.generate_tasks(None))

    assert [number for task in tasks for number in range(task.start, task.stop)] == list(range(1, 1000))


def test_reverse_md5_says_when_there_is_no_such_number():
    result, error = run_serially(make("reverse_md5", "ReverseMD5", total=1000, jobs=7))

    assert result is None
    assert isinstance(error, LookupError)


@pytest.mark.parametrize("seed", SEEDS)
def test_proof_of_work_finds_the_least_number_in_any_order(seed: int):
    system = make("proof_of_work", "ProofOfWork", bits=16)

    assert run_serially(system, seed=seed, shuffle=True) == (408382, None)


@pytest.mark.parametrize(("n", "solutions"), list(enumerate([1, 0, 0, 2, 10, 4, 40, 92, 352, 724], start=1)))
def test_nqueens_counts_the_solutions(n: int, solutions: int):
    system = make("nqueens", "NQueens", n=n)

    assert run_serially(system, seed=n, shuffle=True) == (solutions, None)


@pytest.mark.parametrize("split", [0, 1, 4, 8])
def test_nqueens_does_not_depend_on_how_it_is_split(split: int):
    system = make("nqueens", "NQueens", n=8, split=split)

    assert run_serially(system, shuffle=True) == (92, None)


@pytest.mark.parametrize("budget", [700, 1_000_000])
def test_uts_counts_the_geometric_tree(budget: int):
    system = make("uts", "UnbalancedTreeSearch", d=8, budget=budget)

    assert run_serially(system, shuffle=True) == ((257042, 8, 205878), None)


def test_uts_refuses_a_shape_that_it_does_not_know():
    with pytest.raises(ValueError, match="'fractal'"):
        make("uts", "UnbalancedTreeSearch", shape="fractal")


@pytest.mark.slow
def test_mandelbrot_counts_the_points_inside_and_draws_them(tmp_path: Path):
    image = pytest.importorskip("PIL.Image")
    picture = tmp_path / "set.png"

    result = run_serially(make("mandelbrot", "Mandelbrot", picture=str(picture)), shuffle=True)

    assert result == (15946, None)
    with image.open(picture) as drawn:
        assert drawn.size == (256, 256)
        assert drawn.histogram()[0] == 15946


@pytest.mark.parametrize(("position", "digits"), [(1, "243F6A88"), (9, "85A308D3"), (100_000, "535EA16C")])
def test_pi_digits_are_exact(position: int, digits: str):
    system = make("pi_digits", "PiDigits", position=position)

    assert run_serially(system, shuffle=True) == (digits, None)


def test_the_option_price_is_right_within_its_error():
    (price, error, samples), failure = run_serially(make("option_price", "OptionPrice"))

    assert failure is None
    assert error < 0.02
    assert abs(price - BLACK_SCHOLES) < 4 * error
    assert samples % 5_000 == 0


def test_the_option_price_does_not_depend_on_the_order_of_completion():
    tasks = list(islice(make("option_price", "OptionPrice").generate_tasks(None), 40))
    results = [task() for task in tasks]

    answers = set()
    for seed in SEEDS:
        system = make("option_price", "OptionPrice", tolerance=0.05)
        master = SerialMaster(system.system_id, seed)
        for number in random.Random(seed).sample(range(40), 40):
            system.task_finished(master, tasks[number], results[number], None)
        answers.add(system.gather_result(master))

    assert answers == {run_serially(make("option_price", "OptionPrice", tolerance=0.05))}


@pytest.mark.parametrize("seed", SEEDS)
def test_misra1a_finds_the_certified_values(seed: int):
    result, error = run_serially(make("misra1a", "Misra1a"), seed=seed, shuffle=True)

    assert error is None
    assert result == pytest.approx(MISRA1A, rel=1e-9)


@pytest.mark.slow
def test_proof_of_work_with_twenty_bits():
    assert run_serially(make("proof_of_work", "ProofOfWork", bits=20)) == (2240120, None)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "solutions"), [(11, 2680), (12, 14200)])
def test_nqueens_on_larger_boards(n: int, solutions: int):
    assert run_serially(make("nqueens", "NQueens", n=n)) == (solutions, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ({"d": 10}, (4130071, 10, 3305118)),
        ({"shape": "binomial", "b0": 200, "q": 0.124875, "m": 8, "seed": 42}, (2745281, 1572, 2402145)),
    ],
    ids=["T1", "T3"],
)
def test_uts_counts_the_published_trees(parameters: dict[str, object], size: tuple[int, int, int]):
    assert run_serially(make("uts", "UnbalancedTreeSearch", **parameters)) == (size, None)


@pytest.mark.slow
def test_mandelbrot_in_full_resolution():
    inside, error = run_serially(make("mandelbrot", "Mandelbrot", size=512, iterations=1000))

    assert error is None
    assert inside == pytest.approx(63348, rel=1e-4)


@pytest.mark.slow
def test_pi_digits_at_the_millionth_place():
    assert run_serially(make("pi_digits", "PiDigits", position=1_000_000)) == ("26C65E52", None)


@pytest.mark.parametrize("levels", [0, 3])
def test_the_nested_integral_is_that_of_the_formula(levels: int):
    example = load_example("nested")
    width, place = example.WIDTH, example.PLACE

    with LocalCluster(inline=True) as cluster:
        result = cluster.push_task(example.Integral(0.0, 1.0, levels, 1e-6)).result()

    assert result == pytest.approx((atan((1 - place) / width) + atan(place / width)) / width, abs=1e-6)
