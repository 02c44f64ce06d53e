"""Global states: values that tasks share.

The master stores each once, a slave process fetches each once.

set_global_state(a=1) --> data items state_N (names), state_N_a (value) --> KnownStates of each slave
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from concurro import ConcurroError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from concurro_tagqueue.surface import TaskManagerMethods

_BITS = 53
"""Ids are drawn from so many: two masters of a label, one after the other, must not have the same."""


class UnknownStateError(ConcurroError, LookupError):
    """There is no such global state, or it was deleted.

    Attributes:
        state_id: What was asked for.
    """

    def __init__(self, message: str, state_id: Any = None) -> None:
        super().__init__(message)
        self.state_id = state_id


@dataclass(frozen=True, slots=True)
class GlobalStateValue:
    """Stands for a value of a global state among the parameters of a task.

    The handler gets the value itself; each slave process fetches it once.

    Attributes:
        state_id: What `set_global_state` returned.
        name: The value's name there.
    """

    state_id: int
    name: str


def store_state(manager: TaskManagerMethods, values: dict[str, Any]) -> int:
    """Store the values of a new state; return its id."""
    state_id = random.SystemRandom().getrandbits(_BITS)
    items = {_label(state_id, name): value for name, value in values.items()}
    manager.store_data(**items, **{_label(state_id): sorted(values)})
    return state_id


def delete_state(manager: TaskManagerMethods, state_id: int) -> None:
    """Delete a state with its values.

    Raises:
        UnknownStateError: There is none of that id.
    """
    try:
        names = manager.retrieve_data(_label(state_id))
    except KeyError:
        message = f"there is no global state {state_id!r}: it was deleted, or set_global_state never returned it"
        raise UnknownStateError(message, state_id) from None
    for name in names:
        manager.delete_data(_label(state_id, name))
    manager.delete_data(_label(state_id))


class KnownStates:
    """The values of global states that a slave process has fetched.

    Those of deleted states are forgotten when a new state is met.
    """

    def __init__(self, manager: TaskManagerMethods) -> None:
        self._manager = manager
        self._values: dict[int, dict[str, Any]] = {}

    def put_in(self, parameters: Sequence[Any]) -> tuple[Any, ...]:
        """Return the parameters, with values for what stands for them.

        Raises:
            UnknownStateError: One is of a state that was deleted.
        """
        return tuple(self._value(given) if isinstance(given, GlobalStateValue) else given for given in parameters)

    def _value(self, wanted: GlobalStateValue) -> Any:
        if wanted.state_id not in self._values:
            self._forget_deleted()
        values = self._values.setdefault(wanted.state_id, {})
        if wanted.name not in values:
            try:
                values[wanted.name] = self._manager.retrieve_data(_label(wanted.state_id, wanted.name))
            except KeyError:
                message = f"global state {wanted.state_id!r} has no value {wanted.name!r}, or was deleted"
                raise UnknownStateError(message, wanted.state_id) from None
        return values[wanted.name]

    def _forget_deleted(self) -> None:
        for state_id in list(self._values):
            try:
                self._manager.retrieve_data(_label(state_id))
            except KeyError:
                del self._values[state_id]


def _label(state_id: int, name: str = "") -> str:
    return f"state_{state_id}_{name}" if name else f"state_{state_id}"
