"""Count the ways to place n queens so that none attacks another.

Shows recursive splitting. A task near the root does not count, it answers with the
boards that follow from its own, and the system pushes a task for each of them. Nobody
says in advance how many tasks there will be.

    concurrent run examples/nqueens.py -p n=10
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from concurro import LocalCluster, Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError


class Board(NamedTuple):
    """A board with queens in its first `row` rows; masks tell which columns they attack."""

    row: int = 0
    columns: int = 0
    falling: int = 0
    rising: int = 0


def successors(board: Board, n: int) -> Iterator[Board]:
    """Yield the boards with one more queen, in the next row."""
    free = ~(board.columns | board.falling | board.rising) & ((1 << n) - 1)
    while free:
        queen = free & -free
        free ^= queen
        columns = board.columns | queen
        yield Board(board.row + 1, columns, (board.falling | queen) << 1, (board.rising | queen) >> 1)


def count(board: Board, n: int) -> int:
    """Return in how many ways the remaining rows can be filled."""
    if board.row == n:
        return 1
    return sum(count(successor, n) for successor in successors(board, n))


class Explore(Task):
    """Split the board if it has fewer than `split` queens, else count its solutions."""

    def __init__(self, n: int, board: Board, split: int) -> None:
        super().__init__(f"explore-{board.row}")
        self.n = n
        self.board = board
        self.split = split

    def __call__(self) -> list[Board] | int:
        """Return the boards to explore, or the number of solutions."""
        if self.board.row < self.split:
            return list(successors(self.board, self.n))
        return count(self.board, self.n)


class NQueens(TaskSystem):
    """Place `n` queens; the first `split` of them by tasks of their own."""

    def __init__(self, n: int = 10, split: int = 2) -> None:
        super().__init__()
        self.n = n
        self.split = min(n, split)
        self.unexplored = 0
        self.solutions = 0

    def generate_tasks(self, master: IMaster) -> Iterator[Explore]:
        """Start with the empty board."""
        self.unexplored = 1
        yield Explore(self.n, Board(), self.split)

    def task_finished(self, master: IMaster, task: Task, result: list[Board] | int, error: TaskError | None) -> None:
        """Add the solutions, or go on with the boards that were found."""
        if error is not None:
            raise error
        self.unexplored -= 1
        if isinstance(result, int):
            self.solutions += result
        else:
            self.unexplored += len(result)
            master.push_tasks([Explore(self.n, board, self.split) for board in result])

    def is_complete(self, master: IMaster) -> bool:
        """Stop when no board waits to be explored."""
        return self.unexplored == 0

    def gather_result(self, master: IMaster) -> tuple[int, None]:
        """Return the number of solutions."""
        return self.solutions, None


if __name__ == "__main__":
    with LocalCluster() as cluster:
        print(cluster.run(NQueens()))
