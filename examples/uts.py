"""Count the nodes of a tree whose shape nobody knows in advance.

Shows dynamic splitting. A task walks a part of the tree; when it has seen `budget`
nodes it stops and answers with the nodes that it did not enter, and the system pushes
them as new tasks. So one huge branch keeps every worker busy.

    concurrent run examples/uts.py -p d=10
    concurrent run examples/uts.py -p shape=binomial -p b0=200 -p q=0.124875 -p m=8 -p seed=42

Source: S. Olivier et al., UTS: An Unbalanced Tree Search Benchmark, 2006, section 2.
"""

from __future__ import annotations

from hashlib import sha1
from math import floor, log
from typing import TYPE_CHECKING, NamedTuple

from concurro import LocalCluster, Task, TaskSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concurro import IMaster, TaskError

MAX_CHILDREN = 100
MASK_31_BITS = 0x7FFFFFFF

Node = tuple[bytes, int]
"""State and depth of a node."""


class Tree(NamedTuple):
    """The parameters of a tree, named as in the literature."""

    shape: str
    b0: int
    d: int
    q: float
    m: int
    seed: int

    def root(self) -> Node:
        """Return the root."""
        return sha1(bytes(16) + self.seed.to_bytes(4, "big", signed=True)).digest(), 0

    def children(self, node: Node) -> list[Node]:
        """Return the children of a node."""
        state, depth = node
        count = self._count_children(state, depth)
        return [(sha1(state + child.to_bytes(4, "big")).digest(), depth + 1) for child in range(count)]

    def _count_children(self, state: bytes, depth: int) -> int:
        u = (int.from_bytes(state[-4:], "big") & MASK_31_BITS) / 2**31
        if self.shape == "binomial":
            if depth == 0:
                return self.b0
            return self.m if u < self.q else 0
        if depth >= self.d:
            return 0
        return min(MAX_CHILDREN, floor(log(1 - u) / log(1 - 1 / (1 + self.b0))))


class Size(NamedTuple):
    """How large a tree is, or a part of it."""

    nodes: int = 0
    depth: int = 0
    leaves: int = 0


class Walk(Task):
    """Walk the tree below `nodes`, but enter no more than `budget` nodes."""

    def __init__(self, tree: Tree, nodes: list[Node], budget: int) -> None:
        super().__init__(f"walk-{nodes[0][0].hex()[:8]}")
        self.tree = tree
        self.nodes = nodes
        self.budget = budget

    def __call__(self) -> tuple[Size, list[Node]]:
        """Return the size of what was walked, and the nodes that were not entered."""
        stack = list(self.nodes)
        nodes = depth = leaves = 0
        while stack and nodes < self.budget:
            node = stack.pop()
            nodes += 1
            depth = max(depth, node[1])
            children = self.tree.children(node)
            if children:
                stack += children
            else:
                leaves += 1
        return Size(nodes, depth, leaves), stack


class UnbalancedTreeSearch(TaskSystem):
    """Count a geometric (`b0`, `d`) or binomial (`b0`, `q`, `m`) tree from `seed`."""

    def __init__(  # noqa: PLR0913 - the parameters of the literature
        self,
        shape: str = "geometric",
        b0: int = 4,
        d: int = 8,
        q: float = 0.124875,
        m: int = 8,
        seed: int = 19,
        budget: int = 5_000,
        ways: int = 4,
    ) -> None:
        super().__init__()
        if shape not in {"geometric", "binomial"}:
            message = f"shape={shape!r}: there are geometric and binomial trees"
            raise ValueError(message)
        self.tree = Tree(shape, b0, d, q, m, seed)
        self.budget = budget
        self.ways = ways
        self.walking = 0
        self.size = Size()

    def generate_tasks(self, master: IMaster) -> Iterator[Walk]:
        """Start at the root."""
        self.walking = 1
        yield Walk(self.tree, [self.tree.root()], self.budget)

    def task_finished(
        self, master: IMaster, task: Task, result: tuple[Size, list[Node]], error: TaskError | None
    ) -> None:
        """Add what was walked; deal the rest out to new tasks."""
        if error is not None:
            raise error
        self.walking -= 1
        walked, rest = result
        self.size = Size(
            self.size.nodes + walked.nodes, max(self.size.depth, walked.depth), self.size.leaves + walked.leaves
        )
        parts = [rest[start :: self.ways] for start in range(min(self.ways, len(rest)))]
        self.walking += len(parts)
        master.push_tasks([Walk(self.tree, part, self.budget) for part in parts])

    def is_complete(self, master: IMaster) -> bool:
        """Stop when no task walks any more."""
        return self.walking == 0

    def gather_result(self, master: IMaster) -> tuple[tuple[int, int, int], None]:
        """Return nodes, depth and leaves."""
        return tuple(self.size), None


if __name__ == "__main__":
    with LocalCluster() as cluster:
        print(cluster.run(UnbalancedTreeSearch()))
