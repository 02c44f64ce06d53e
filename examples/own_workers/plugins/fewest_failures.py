"""A strategy of the monitor: workers in which the fewest calls have failed."""

from concurro import implementer
from concurro_monitor import IMonitorStrategy, MonitorStrategy


@implementer(IMonitorStrategy)
class FewestFailures(MonitorStrategy):
    """Prefer workers where calls do not fail; of those, the first."""

    name = "fewest-failures"

    def select_worker(self, sender_id: str) -> str:
        """Return the uid of one of the workers that live."""
        return min(self.workers, key=lambda worker: self.figures_of(worker).get("failed", 0))
