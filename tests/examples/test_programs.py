"""Every example runs as its documentation says: as a program, and by `concurrent run`."""

from __future__ import annotations

import ast
import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.programs import EXAMPLES, command, run_program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("runtime_folder")

ANSWERS = {
    "sum_of_squares": "332833500",
    "reverse_md5": "1763965",
    "proof_of_work": "408382",
    "nqueens": "724",
    "uts": "(257042, 8, 205878)",
    "mandelbrot": "15946",
    "pi_digits": "535EA16C",
}
PROGRAMS = {
    **ANSWERS,
    "nested": "3136.8308",
    "application_node": "SystemApplication 24502500\nPushingApplication 24502500",
    "golomb_tesserae": "4 6\n5 11\n6 17",
    "pool_without_nodes": "871 takes 178 steps",
    "parameter_server": "0.500 -2.000 3.000",
    "square_roots": (
        "the root of -1: ValueError\nthe root of 0 is 0.0000\nthe root of 1 is 1.0000\n"
        "the root of 2 is 1.4142\nthe root of 3 is 1.7321"
    ),
}


def test_every_example_is_tested():
    names = {path.stem for path in EXAMPLES.glob("*.py")}

    assert names == PROGRAMS.keys() | {"option_price", "misra1a", "waveform_fit"}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_is_a_program(name: str):
    run = run_program(sys.executable, EXAMPLES / f"{name}.py")

    assert run.stdout.strip() == PROGRAMS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ANSWERS)
def test_concurrent_run_prints_the_answer_alone_on_stdout(name: str, tmp_path: Path):
    run = run_program(command("concurrent"), "run", EXAMPLES / f"{name}.py", cwd=tmp_path)

    assert run.stdout.strip() == ANSWERS[name]


@pytest.mark.slow
def test_concurrent_run_fills_parameters_by_their_annotations(tmp_path: Path):
    run = run_program(command("concurrent"), "run", EXAMPLES / "nqueens.py", "-p", "n=8", cwd=tmp_path)

    assert run.stdout.strip() == "92"


@pytest.mark.slow
def test_reverse_md5_tells_how_many_tasks_were_done_and_cancelled(tmp_path: Path):
    run = run_program(command("concurrent"), "run", EXAMPLES / "reverse_md5.py", cwd=tmp_path)

    words = run.stderr.replace(",", " ").replace("/", " ").split()
    assert "done" in words
    assert "cancelled" in words


@pytest.mark.slow
def test_the_option_price_is_the_same_for_one_and_three_workers(tmp_path: Path):
    prices = [
        run_program(
            command("concurrent"), "run", EXAMPLES / "option_price.py", "--workers", workers, cwd=tmp_path
        ).stdout
        for workers in (1, 3)
    ]

    assert prices[0] == prices[1]
    assert ast.literal_eval(prices[0])[0] == pytest.approx(10.450583572185565, abs=0.08)


@pytest.mark.slow
def test_the_waveform_fit_has_right_gradients_and_finds_what_it_finds_alone():
    taylor, misfit, alone = run_program(sys.executable, EXAMPLES / "waveform_fit.py").stdout.splitlines()

    assert [float(ratio) for ratio in taylor.split()[2:]] == pytest.approx([4.0, 4.0, 4.0], abs=0.05)
    assert float(misfit.split()[1]) < 0.02
    assert alone == "as without workers: True"


@pytest.mark.slow
def test_misra1a_prints_the_certified_values(tmp_path: Path):
    run = run_program(command("concurrent"), "run", EXAMPLES / "misra1a.py", cwd=tmp_path)

    assert ast.literal_eval(run.stdout) == pytest.approx((238.94212918, 5.5015643181e-4, 0.12455138894), rel=1e-9)


@pytest.mark.slow
def test_mandelbrot_writes_its_picture_where_the_user_is(tmp_path: Path):
    pytest.importorskip("PIL.Image")

    run_program(
        command("concurrent"), "run", EXAMPLES / "mandelbrot.py", "-p", "size=32", "-p", "picture=set.png", cwd=tmp_path
    )

    assert (tmp_path / "set.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_result_comes_as_json_on_request(tmp_path: Path):
    run = run_program(command("concurrent"), "run", EXAMPLES / "nqueens.py", "-p", "n=6", "--json", cwd=tmp_path)

    assert json.loads(run.stdout)["result"] == 4
