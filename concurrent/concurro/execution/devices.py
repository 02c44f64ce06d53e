"""Which devices of the resource `gpu` an attempt gets; pure.

A task that requires 2 gets two devices, one that requires 0.5 a share of one: of the busiest
device that still has room, so that whole ones stay free for those that need them (best fit).
But a worker that is bound to devices comes before that: best fit decides among such workers,
and about devices only where there is none. Shares are counted in millionths: no rounding error piles up.

Source: best-fit decreasing order is not possible on-line; plain best fit after D. S. Johnson,
"Near-optimal bin packing algorithms" (1973), section 2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

RESOURCE = "gpu"
"""The resource whose amounts are devices."""

_WHOLE = 1_000_000
_NOISE = 1e-3  # 0.29 is not quite 290 000 millionths


class Share(NamedTuple):
    """What an attempt holds.

    Attributes:
        devices: Their names, whole ones first.
        parts: How much of each, in millionths.
    """

    devices: tuple[str, ...]
    parts: tuple[int, ...]


class Bound(Protocol):
    """A worker, as far as devices go."""

    devices: tuple[str, ...]


_B = TypeVar("_B", bound=Bound)


class Devices:
    """The devices of a slave, and how much of each is free.

    Args:
        names: What a library knows them by: indices or UUIDs.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._free = dict.fromkeys(names, _WHOLE)

    def __len__(self) -> int:
        return len(self._free)

    @property
    def free(self) -> dict[str, float]:
        """How much of each is free, from 0 to 1."""
        return {name: free / _WHOLE for name, free in self._free.items()}

    def take(self, amount: float) -> Share | None:
        """Take devices; None when not enough are free."""
        wholes, part = _split(amount)
        chosen = [name for name, free in self._free.items() if free == _WHOLE][:wholes]
        if len(chosen) < wholes:
            return None
        if part:
            fitting = [name for name, free in self._free.items() if free >= part and name not in chosen]
            if not fitting:
                return None
            chosen.append(min(fitting, key=self._free.__getitem__))
        return self._taken(chosen, wholes, part)

    def take_these(self, names: Sequence[str], amount: float) -> Share | None:
        """Take these devices; None when they do not suffice, or are not free."""
        wholes, part = _split(amount)
        return self._taken(names, wholes, part) if self.suffice(names, amount) else None

    def suffice(self, names: Sequence[str], amount: float) -> bool:
        """Say whether these are the devices for an amount, and free."""
        wholes, part = _split(amount)
        if len(names) != wholes + (part > 0):
            return False
        needed = [_WHOLE] * wholes + [part] * (part > 0)
        return all(self._free.get(name, 0) >= each for name, each in zip(names, needed, strict=True))

    def give_back(self, share: Share) -> None:
        """Free what an attempt held."""
        for name, part in zip(share.devices, share.parts, strict=True):
            self._free[name] += part

    def _taken(self, names: Sequence[str], wholes: int, part: int) -> Share:
        parts = (*(_WHOLE for _ in range(wholes)), *((part,) if part else ()))
        for name, each in zip(names, parts, strict=True):
            self._free[name] -= each
        return Share(tuple(names), parts)


def choose_worker(devices: Devices, amount: float, idle: Sequence[_B]) -> tuple[_B | None, Share | None]:
    """Return who runs an attempt, and on what.

    A library binds its process to the first devices that it sees. So a worker once bound serves
    only the same set: best is an idle one of a set that is free (of several that whose last
    device, the shared one, is busiest), then one never bound. A worker without a share is to be
    replaced, and the attempt waits; nobody: it just waits.
    """
    bound = [worker for worker in idle if worker.devices and devices.suffice(worker.devices, amount)]
    if bound:
        free = devices.free
        best = min(bound, key=lambda worker: free[worker.devices[-1]])
        return best, devices.take_these(best.devices, amount)
    share = devices.take(amount)
    if share is None or not idle:
        if share is not None:
            devices.give_back(share)
        return None, None
    for worker in idle:
        if not worker.devices:
            return worker, share
    devices.give_back(share)
    return idle[0], None


def device_names(amount: float, visible: str | None) -> list[str]:
    """Return the names of a slave's devices.

    Args:
        amount: How many `[slave] resources` offers; a part of one is one device.
        visible: What the slave itself was told to see (`CUDA_VISIBLE_DEVICES`); None or
            empty for nothing.

    Raises:
        ValueError: It was told to see fewer than it offers.
    """
    count = math.ceil(amount)
    told = [name.strip() for name in (visible or "").split(",") if name.strip()]
    if not told:
        return [str(index) for index in range(count)]
    if len(told) < count:
        message = f"{RESOURCE} = {amount:g} is offered, but CUDA_VISIBLE_DEVICES names only {', '.join(told)}"
        raise ValueError(message)
    return told[:count]


def _split(amount: float) -> tuple[int, int]:
    """Return how many whole devices, and millionths of another.

    Rounded down: what adds up to one for the master must fit on one here.
    """
    return divmod(max(1, math.floor(amount * _WHOLE + _NOISE)), _WHOLE)
