"""What an author of a component tests at least."""

from example_strategy import BigMachinesFirst

from concurro.testing import check_component


def test_keeps_the_contract_of_a_strategy() -> None:
    """A strategy keeps its interface's contract, and behaves."""
    check_component(BigMachinesFirst)
