"""The bad network, under the name by which tests know it."""

from concurro.testing.fault_proxy import BOTH, FROM_MASTER, TO_MASTER, FaultProxy

__all__ = ["BOTH", "FROM_MASTER", "TO_MASTER", "FaultProxy"]
