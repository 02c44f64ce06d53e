"""An inverse problem: find the velocities of a string from the waves that it carried.

    head: model --warehouse--> a solver per worker: misfit and gradient of one source after the other
          model <--update----- added up in the order of the sources

Each source sends a wave along a line; receivers record it. The model is right when it predicts every
recording. How the misfit changes with the model comes from a second wave that runs back in time from
the receivers, the adjoint state (R.-E. Plessix, A review of the adjoint-state method for computing
the gradient of a functional, Geophysical Journal International, 2006, section 2).

    python examples/waveform_fit.py
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from concurro_tessera import Runtime, run, tessera

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Gradient = Callable[[np.ndarray], Awaitable[tuple[float, np.ndarray]]]

POINTS = 121
STEPS = 260
SOURCES = (20, 50, 70, 100)
RECEIVERS = slice(5, POINTS, 10)
PERIOD = 24.0
"""Of the wave of a source, in steps."""

START = 0.25
"""Squared velocity of the homogeneous line [points^2 / steps^2]."""

ITERATIONS = 12


class Fit(NamedTuple):
    """How a search went.

    Attributes:
        model: Squared velocities that it ended with.
        misfits: Of the start, and after each step.
    """

    model: np.ndarray
    misfits: list[float]


def true_model() -> np.ndarray:
    """Return the model that is looked for: faster in the middle."""
    points = np.arange(POINTS)
    return START * (1 + 0.15 * np.exp(-(((points - 60) / 12.0) ** 2)))


def wavelet() -> np.ndarray:
    """Return what a source does over time: a Ricker wavelet."""
    phase = (np.pi * (np.arange(STEPS) - 1.5 * PERIOD) / PERIOD) ** 2
    return (1 - 2 * phase) * np.exp(-phase)


def curvature(wave: np.ndarray) -> np.ndarray:
    """Return the second difference of a wave whose ends do not move."""
    padded = np.pad(wave, 1)
    return padded[2:] - 2 * wave + padded[:-2]


def propagate(model: np.ndarray, source: int) -> np.ndarray:
    """Return the wave of a source: a row per step."""
    waves = np.zeros((STEPS + 2, POINTS))
    for step, force in enumerate(wavelet()):
        now, before = waves[step + 1], waves[step]
        waves[step + 2] = 2 * now - before + model * curvature(now)
        waves[step + 2, source] += force
    return waves


def misfit_and_gradient(model: np.ndarray, source: int, recording: np.ndarray) -> tuple[float, np.ndarray]:
    """Return how far the prediction is from a recording, and the derivative of that by the model."""
    waves = propagate(model, source)
    residual = waves[2:, RECEIVERS] - recording
    gradient = np.zeros(POINTS)
    adjoint, later = np.zeros(POINTS), np.zeros(POINTS)
    for step in reversed(range(STEPS)):
        adjoint, later = 2 * adjoint - later + curvature(model * adjoint), adjoint
        adjoint[RECEIVERS] += residual[step]
        gradient += adjoint * curvature(waves[step + 1])
    return 0.5 * float(np.sum(residual**2)), gradient


@tessera
class Solver:
    """Knows the recordings, and compares models with them."""

    def __init__(self, recordings: dict[int, np.ndarray]) -> None:
        self.recordings = recordings

    def compare(self, model: np.ndarray, source: int) -> tuple[float, np.ndarray]:
        """Return misfit and gradient for one source."""
        return misfit_and_gradient(model, source, self.recordings[source])


def add_up(parts: list[tuple[float, np.ndarray]]) -> tuple[float, np.ndarray]:
    """Return the misfit and the gradient of all sources, always added in the same order."""
    return sum(misfit for misfit, _ in parts), np.sum([gradient for _, gradient in parts], axis=0)


async def search(gradient_of: Gradient) -> Fit:
    """Go downhill from the homogeneous line; each step as far as it helps."""
    model = np.full(POINTS, START)
    misfit, gradient = await gradient_of(model)
    misfits = [misfit]
    length = 0.02 * START / float(np.max(np.abs(gradient)))
    for _ in range(ITERATIONS):
        length *= 2
        while True:
            candidate = model - length * gradient
            better, its_gradient = await gradient_of(candidate)
            if better < misfit:
                break
            length /= 4
        model, misfit, gradient = candidate, better, its_gradient
        misfits.append(misfit)
    return Fit(model, misfits)


async def taylor_ratios(gradient_of: Gradient) -> list[float]:
    """Return by how much the error of the linear prediction falls when the change of the model is halved.

    It is 4 where the gradient is right: what is left is of second order.
    """
    model = np.full(POINTS, START)
    change = 0.01 * START * np.sin(np.arange(POINTS) / 7.0)
    misfit, gradient = await gradient_of(model)
    slope = float(gradient @ change)
    errors = [abs((await gradient_of(model + change / 2**k))[0] - misfit - slope / 2**k) for k in range(4)]
    return [one / half for one, half in pairwise(errors)]


async def main(runtime: Runtime) -> tuple[list[float], Fit, Fit]:
    """Search with the workers, and alone."""
    recordings = {source: propagate(true_model(), source)[2:, RECEIVERS] for source in SOURCES}
    solvers = await Solver.remote(recordings, len=runtime.num_workers)

    async def on_workers(model: np.ndarray) -> tuple[float, np.ndarray]:
        shared = await runtime.put(model)

        @runtime.async_for(SOURCES)
        async def compared(worker: object, source: int) -> tuple[float, np.ndarray]:
            return await solvers.compare(shared, source, runtime=worker).result()

        parts = await compared
        await runtime.drop(shared)
        return add_up(parts)

    async def alone(model: np.ndarray) -> tuple[float, np.ndarray]:
        return add_up([misfit_and_gradient(model, source, recordings[source]) for source in SOURCES])

    return await taylor_ratios(on_workers), await search(on_workers), await search(alone)


if __name__ == "__main__":
    ratios, fit, serial = run(main, workers=2)
    print("Taylor test:", *(f"{ratio:.2f}" for ratio in ratios))
    print(f"misfit: {fit.misfits[-1] / fit.misfits[0]:.4f} of that at the start")
    print("as without workers:", bool((fit.model == serial.model).all()))
