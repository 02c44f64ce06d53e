r"""The fixtures, and which code of the tests travels to the workers.

concurrent_cluster_options --> concurrent_cluster (one per run, real processes)
                          \-> inline_cluster (one per test, in its process and thread)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import LocalCluster

WORKERS = 2


@pytest.fixture(scope="session")
def concurrent_cluster_options() -> dict[str, Any]:
    """Give what `LocalCluster` is called with, by name.

    Define one of this name in `conftest.py` for others; `workers` is 2 where it is left out.
    """
    return {}


@pytest.fixture(scope="session")
def concurrent_cluster(
    request: pytest.FixtureRequest, concurrent_cluster_options: dict[str, Any]
) -> Iterator[LocalCluster]:
    """Give a local cluster of two workers, shared by all tests.

    It is started at first use. Functions and classes of the test files travel to the workers; what
    the tests import, workers import where this process found it.
    """
    from concurro import LocalCluster  # noqa: PLC0415 - see the package

    options = {"workers": WORKERS, **concurrent_cluster_options}
    options["config"] = _with_tests(request.session, options.get("config"))
    with LocalCluster(**options) as cluster:
        yield cluster


@pytest.fixture
def inline_cluster(concurrent_cluster_options: dict[str, Any]) -> Iterator[LocalCluster]:
    """Give a cluster that runs everything in the thread of the test.

    Breakpoints work, coverage is measured, and monkeypatches are seen.
    """
    from concurro import LocalCluster  # noqa: PLC0415 - see the package

    options = {name: value for name, value in concurrent_cluster_options.items() if name in ("config", "plugins")}
    with LocalCluster(inline=True, **options) as cluster:
        yield cluster


def _with_tests(session: pytest.Session, config: Any) -> Any:
    """Return the settings with which the code of the tests travels."""
    from concurro import Config  # noqa: PLC0415 - see the package

    loaded = Config.load(config)
    folders = sorted({str(item.path.parent) for item in session.items})
    return Config.load(loaded, overrides={"application.ship": [*loaded["application.ship"], *folders]})
