"""What authors of components use in their tests."""

from concurro.testing.contracts import check_component

__all__ = ["check_component"]
