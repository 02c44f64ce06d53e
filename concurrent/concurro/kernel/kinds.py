"""Kinds of environment as interfaces, so that a look-up tells them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from concurro.interfaces import Interface

if TYPE_CHECKING:
    from collections.abc import Mapping


class IEnvironment(Interface):
    """Any environment."""


class IMasterEnvironment(IEnvironment):
    """The environment of a master."""


class ISlaveEnvironment(IEnvironment):
    """The environment of a slave."""


class IApplicationEnvironment(IEnvironment):
    """The environment of an application or a command."""


class IHostEnvironment(IEnvironment):
    """The environment of a system host."""


class IWorkerEnvironment(IEnvironment):
    """The environment of a worker for services."""


class IInlineEnvironment(IMasterEnvironment, ISlaveEnvironment, IApplicationEnvironment, IHostEnvironment):
    """The environment of a local cluster that does everything in one thread."""


KINDS: Final[Mapping[str, type[Any]]] = {
    "master": IMasterEnvironment,
    "slave": ISlaveEnvironment,
    "application": IApplicationEnvironment,
    "host": IHostEnvironment,
    "worker": IWorkerEnvironment,
    "inline": IInlineEnvironment,
}
