"""A runtime's way to values that are kept for everybody."""

from __future__ import annotations

from typing import Any

from concurro_monitor.awaiting import Answer
from concurro_monitor.foundation import Foundation
from concurro_monitor.warehouse import Warehouse


class Values(Foundation):
    """The part of a runtime that puts, gets and drops. Thread-safe."""

    @property
    def warehouse(self) -> Warehouse:
        """The way to values that are kept."""
        return self.part(Warehouse)

    def put(self, obj: Any, publish: bool = False, reply: bool = False, uid: str | None = None) -> Answer[Any]:  # noqa: FBT001, FBT002 - the fixed public signature
        """Put a value into the warehouse; the awaitable gives its reference.

        Args:
            obj: The value; it does not change there.
            publish: Whether every machine gets a copy at once.
            reply: Whether to wait until it is stored.
            uid: Its name; made when there is none.

        Raises:
            NotPicklableError: It cannot travel; at once.
        """
        return self.warehouse.put(obj, publish=publish, reply=reply, uid=uid)

    def get(self, uid: Any, cache: bool = True) -> Answer[Any]:  # noqa: FBT001, FBT002 - the fixed public signature
        """Return an awaitable of a value: a view that nobody writes to.

        Args:
            uid: Its reference or name.
            cache: Whether it is kept here for the next time.

        The awaitable raises KeyError when there is none.
        """
        return self.warehouse.get(uid, cache=cache)

    def drop(self, uid: Any) -> Answer[None]:
        """Delete a value."""
        return self.warehouse.drop(uid)

    def init_warehouse(self, **kwargs: Any) -> Answer[int]:
        """Have the warehouse ready in every worker.

        The awaitable gives in how many.

        It takes no settings but those of the table `[warehouse]`, which each worker reads.

        Raises:
            TypeError: One was given.
        """
        if kwargs:
            message = f"the warehouse is configured in the table [warehouse], not by {', '.join(kwargs)}"
            raise TypeError(message)

        async def build() -> int:
            await Answer.of_future(self.ask("select_worker"))  # once there is one
            network: list[Any] = await Answer.of_future(self.ask("network"))
            for _, address, *_ in network[1]:
                await Answer.of_future(self.application.service("warehouse", address).call("usage"))
            return len(network[1])

        return self.loop.start(build(), "the warehouse")
