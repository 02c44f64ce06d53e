"""A parameter server: learners on workers fit one model together, nobody waiting for the others.

    learner --pull--> root of the model, in a worker <--pull-- learner
            --descend(gradient, propagate=True)-->     <------

Each learner has a share of the observations. It takes the latest weights, finds out how they should
change for its share, and changes its copy and the root alike. The root has what all of them found.

    python examples/parameter_server.py
"""

from __future__ import annotations

from concurro_tessera import Runtime, run, tessera

WEIGHTS = (0.5, -2.0, 3.0)
"""Of the polynomial that was observed: 0.5 - 2 x + 3 x^2."""

OBSERVATIONS = [(x / 50, sum(weight * (x / 50) ** n for n, weight in enumerate(WEIGHTS))) for x in range(-50, 51)]
LEARNERS = 4
STEPS = 300
RATE = 0.4
TOLERANCE = 1e-6


@tessera
class Model:
    """A polynomial."""

    def __init__(self, size: int) -> None:
        self.weights = [0.0] * size

    def descend(self, gradient: list[float]) -> None:
        """Change the weights against a gradient."""
        self.weights = [weight - RATE * slope for weight, slope in zip(self.weights, gradient, strict=True)]

    def value(self, x: float) -> float:
        """Return its value."""
        return sum(weight * x**n for n, weight in enumerate(self.weights))


@tessera
class Learner:
    """Learns from a share of the observations."""

    def __init__(self, share: list[tuple[float, float]]) -> None:
        self.share = share

    async def learn(self, model: Model, steps: int) -> None:
        """Improve a model so many times."""
        for _ in range(steps):
            await model.pull("weights")
            model.descend(self.gradient(model), propagate=True)

    def gradient(self, model: Model) -> list[float]:
        """Return the slope of the mean squared error in each weight."""
        errors = [(x, model.value(x) - y) for x, y in self.share]
        return [sum(error * x**n for x, error in errors) / len(errors) for n in range(len(model.weights))]


async def main(runtime: Runtime) -> list[float]:
    """Fit the model; return its weights."""
    model = Model.parameter(len(WEIGHTS))
    workers = runtime.workers
    shares = [OBSERVATIONS[first::LEARNERS] for first in range(LEARNERS)]
    learners = [Learner.remote(share, runtime=workers[n % len(workers)]) for n, share in enumerate(shares)]
    error = 1.0
    while error > TOLERANCE:
        for task in [learner.learn(model, STEPS) for learner in learners]:
            await task
        await model.pull()
        error = max(abs(model.value(x) - y) for x, y in OBSERVATIONS)
    return model.weights


if __name__ == "__main__":
    print(*(f"{weight:.3f}" for weight in run(main, workers=2)))
