"""Price a European call by simulation, until the error is small enough.

Shows a stop rule that the system decides, over a generator without an end, and an
answer that does not depend on the number of workers: every batch has a seed of its own,
and batches are counted in the order of their numbers, whatever order they finish in.

    concurrent run examples/option_price.py -p tolerance=0.01

The exact price for the defaults is 10.450583572185565 (Black and Scholes, 1973).
"""

from __future__ import annotations

from itertools import count
from math import exp, inf, sqrt
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from concurro import LocalCluster, Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError


class Market(NamedTuple):
    """What the price depends on: prices in money, rates per year, time in years."""

    price: float = 100.0
    strike: float = 100.0
    rate: float = 0.05
    volatility: float = 0.2
    maturity: float = 1.0


class Estimate(NamedTuple):
    """A price, its standard error, and the samples behind it."""

    price: float
    error: float
    samples: int


class SimulateBatch(Task):
    """Simulate `samples` pairs of mirrored paths."""

    def __init__(self, market: Market, seed: int, number: int, samples: int) -> None:
        super().__init__(f"batch-{number}")
        self.market = market
        self.seed = seed
        self.number = number
        self.samples = samples

    def __call__(self) -> tuple[float, float]:
        """Return the sum of the discounted payoffs, and the sum of their squares."""
        price, strike, rate, volatility, maturity = self.market
        drift = (rate - volatility**2 / 2) * maturity
        spread = volatility * sqrt(maturity)
        discount = exp(-rate * maturity)
        gauss = Random(f"{self.seed}/{self.number}").gauss
        total = squares = 0.0
        for _ in range(self.samples):
            step = spread * gauss(0.0, 1.0)
            up = max(price * exp(drift + step) - strike, 0.0)
            down = max(price * exp(drift - step) - strike, 0.0)
            payoff = discount * (up + down) / 2
            total += payoff
            squares += payoff * payoff
        return total, squares


class OptionPrice(TaskSystem):
    """Simulate batches of `samples` until the standard error is below `tolerance`."""

    def __init__(self, tolerance: float = 0.02, samples: int = 5_000, seed: int = 1) -> None:
        super().__init__()
        self.tolerance = tolerance
        self.samples = samples
        self.seed = seed
        self.market = Market()
        self.waiting: dict[int, tuple[float, float]] = {}
        self.counted = 0
        self.total = 0.0
        self.squares = 0.0

    def generate_tasks(self, master: IMaster) -> Iterator[SimulateBatch]:
        """Generate batches without end; no more are made than are consumed."""
        return (SimulateBatch(self.market, self.seed, number, self.samples) for number in count())

    def task_finished(
        self, master: IMaster, task: SimulateBatch, result: tuple[float, float], error: TaskError | None
    ) -> None:
        """Count the batches whose turn has come, but none after the stop rule holds."""
        if error is not None:
            raise error
        self.waiting[task.number] = result
        while self.counted in self.waiting and not self.is_complete(master):
            total, squares = self.waiting.pop(self.counted)
            self.counted += 1
            self.total += total
            self.squares += squares
        master.publish(self.estimate())

    def estimate(self) -> Estimate:
        """Return what the counted batches say."""
        samples = self.counted * self.samples
        if samples == 0:
            return Estimate(inf, inf, 0)
        mean = self.total / samples
        variance = max(self.squares / samples - mean * mean, 0.0)
        return Estimate(mean, sqrt(variance / samples), samples)

    def is_complete(self, master: IMaster) -> bool:
        """Stop when the error is small enough."""
        return self.estimate().error < self.tolerance

    def gather_result(self, master: IMaster) -> tuple[tuple[float, float, int], None]:
        """Return price, standard error and samples."""
        return tuple(self.estimate()), None


if __name__ == "__main__":
    with LocalCluster() as cluster:
        print(cluster.run(OptionPrice()))
