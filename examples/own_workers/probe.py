"""Tesserae go where calls do not fail: run it in this folder, where its settings are."""

import asyncio
from pathlib import Path

from concurro_tessera import Runtime, run, tessera

HERE = Path(__file__).parent


@tessera
class Probe:
    """Measures, when its device answers."""

    def measure(self, *, works: bool) -> int:
        """Return a value.

        Raises:
            OSError: The device does not answer.
        """
        if not works:
            message = "no answer"
            raise OSError(message)
        return 42


async def failures(runtime: Runtime, worker: str) -> int:
    """Return how many calls have failed in a worker, as the monitor knows."""
    state = await runtime.get_monitor().state()
    return next(one.get("failed", 0) for one in state["workers"] if one["uid"] == worker)


async def main(runtime: Runtime) -> None:
    """Have one call fail; see where the next tessera goes."""
    first = await Probe.remote()
    try:
        await first.measure(works=False)
    except OSError as error:
        print(f"{first.runtime_id}: {error}")
    while not await failures(runtime, first.runtime_id):  # noqa: ASYNC110 - its report comes within a moment
        await asyncio.sleep(0.05)
    second = await Probe.remote()
    print(f"{second.runtime_id}: {await second.measure(works=True).result()}")


if __name__ == "__main__":
    run(main, workers=2, config=HERE)
