"""Fixtures of pytest: a cluster for the tests of those who use one.

Loaded by every run of pytest where Concurrent is installed, so it imports nothing of it before a
fixture is used.
"""

from concurro_pytest.fixtures import concurrent_cluster, concurrent_cluster_options, inline_cluster

__all__ = ["concurrent_cluster", "concurrent_cluster_options", "inline_cluster"]
