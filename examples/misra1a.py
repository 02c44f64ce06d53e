"""Fit a curve from many starting points, and go on where it looked best.

Shows a search that adapts. The first round starts anywhere, each further round near the
best fit so far; the search ends when a round no longer improves it.

    concurrent run examples/misra1a.py

Source: National Institute of Standards and Technology, Statistical Reference Datasets,
nonlinear regression, Misra1a (D. Misra, 1978: dental research in monomolecular adsorption).
"""

from __future__ import annotations

from math import exp, inf
from typing import TYPE_CHECKING, NamedTuple

from concurro import LocalCluster, Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError

VOLUMES = (10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78)
PRESSURES = (77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0)

B1_RANGE = (10.0, 1000.0)
B2_RANGE = (1e-5, 1e-2)
IMPROVEMENT = 1e-12
"""Relative improvement of the residual below which the search ends."""


class Fit(NamedTuple):
    """The parameters of y = b1 * (1 - exp(-b2 * x)), and what they leave over."""

    residual: float
    b1: float
    b2: float


def residual_of(b1: float, b2: float) -> float:
    """Return the sum of squared differences between curve and observations."""
    try:
        return sum((y - b1 * (1 - exp(-b2 * x))) ** 2 for x, y in zip(PRESSURES, VOLUMES, strict=True))
    except OverflowError:
        return inf


def damped_step(b1: float, b2: float, damping: float) -> tuple[float, float]:
    """Return the Levenberg-Marquardt step from (b1, b2).

    Source: D. Marquardt, An algorithm for least-squares estimation of nonlinear
    parameters, 1963, with the scaling of his section 3.
    """
    a11 = a12 = a22 = g1 = g2 = 0.0
    for x, y in zip(PRESSURES, VOLUMES, strict=True):
        decay = exp(-b2 * x)
        slope1, slope2 = 1 - decay, b1 * x * decay
        difference = y - b1 * slope1
        a11 += slope1 * slope1
        a12 += slope1 * slope2
        a22 += slope2 * slope2
        g1 += slope1 * difference
        g2 += slope2 * difference
    a11 *= 1 + damping
    a22 *= 1 + damping
    determinant = a11 * a22 - a12 * a12
    if determinant == 0.0:
        return 0.0, 0.0
    return (a22 * g1 - a12 * g2) / determinant, (a11 * g2 - a12 * g1) / determinant


class FitFrom(Task):
    """Improve the parameters for `steps` steps from a start."""

    def __init__(self, number: int, b1: float, b2: float, steps: int) -> None:
        super().__init__(f"fit-{number}")
        self.b1 = b1
        self.b2 = b2
        self.steps = steps

    def __call__(self) -> Fit:
        """Return the best fit on the way."""
        best = Fit(residual_of(self.b1, self.b2), self.b1, self.b2)
        damping = 1e-3
        for _ in range(self.steps):
            step1, step2 = damped_step(best.b1, best.b2, damping)
            b1, b2 = best.b1 + step1, best.b2 + step2
            residual = residual_of(b1, b2) if b2 > 0 else inf
            if residual < best.residual:
                best = Fit(residual, b1, b2)
                damping /= 10
            else:
                damping *= 10
        return best


class Misra1a(TaskSystem):
    """Start `starts` fits per round, of `steps` steps each."""

    def __init__(self, starts: int = 16, steps: int = 12, max_rounds: int = 20) -> None:
        super().__init__()
        self.starts = starts
        self.steps = steps
        self.max_rounds = max_rounds
        self.rounds = 0
        self.open = 0
        self.best = Fit(inf, 0.0, 0.0)
        self.previous = inf

    def generate_tasks(self, master: IMaster) -> Iterator[FitFrom]:
        """Start anywhere in the first round, then near the best fit so far."""
        self.rounds += 1
        self.open = self.starts
        center = self.best  # the best fit changes while this round is still generated
        self.previous = center.residual
        spread = 2.0**-self.rounds
        for number in range(self.starts):
            if self.rounds == 1:
                b1, b2 = (low * (high / low) ** master.random.random() for low, high in (B1_RANGE, B2_RANGE))
            elif number == 0:
                b1, b2 = center.b1, center.b2
            else:
                b1, b2 = (value * (1 + master.random.uniform(-spread, spread)) for value in (center.b1, center.b2))
            yield FitFrom(number, b1, b2, self.steps)

    def task_finished(self, master: IMaster, task: Task, result: Fit, error: TaskError | None) -> None:
        """Keep the best fit."""
        if error is not None:
            raise error
        self.open -= 1
        self.best = min(self.best, Fit(*result))
        master.report_progress(self.rounds, message=f"residual {self.best.residual:.11g}")

    def is_complete(self, master: IMaster) -> bool:
        """Stop after a round that did not improve the fit."""
        if self.open > 0:
            return False
        converged = self.previous < inf and self.previous - self.best.residual <= IMPROVEMENT * self.previous
        return converged or self.rounds == self.max_rounds

    def gather_result(self, master: IMaster) -> tuple[tuple[float, float, float], None]:
        """Return b1, b2 and the residual sum of squares."""
        return (self.best.b1, self.best.b2, self.best.residual), None


if __name__ == "__main__":
    with LocalCluster() as cluster:
        print(cluster.run(Misra1a()))
