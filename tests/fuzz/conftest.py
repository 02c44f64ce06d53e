"""How much is tried: little in a normal run, as much as you like in a campaign.

`CONCURRO_FUZZ=50 pytest tests/fuzz` tries fifty times as many examples.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EFFORT = int(os.environ.get("CONCURRO_FUZZ", "1"))

settings.register_profile(
    "fuzz", settings.get_profile("concurro"), max_examples=25 * EFFORT, suppress_health_check=list(HealthCheck)
)
