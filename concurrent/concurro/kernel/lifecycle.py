"""Start components in order of dependency, stop them in reverse."""

from __future__ import annotations

from typing import Any

from concurro.errors import ComponentError
from concurro.interfaces import ILifecycle, ITaskManager


class Lifecycle:
    """What has to be started and stopped. Guarded by its environment's lock.

    Components are added in the order in which they were built: what one selects is built
    before it, so this is the order of dependency.
    """

    def __init__(self) -> None:
        self._members: list[Any] = []
        self._started: list[Any] = []
        self._is_running = False

    def add(self, component: Any) -> None:
        """Take a component that was just built; start it if the others run.

        Raises:
            Exception: What its `start` raised; it is not kept.
        """
        # Whoever owns a task manager starts it, with its identity and address.
        if not ILifecycle.providedBy(component) or ITaskManager.providedBy(component):
            return
        if self._is_running:
            self._start(component)
        self._members.append(component)

    def start(self) -> None:
        """Start what has not started.

        Raises:
            Exception: What a component raised; those that had started are stopped again.
        """
        self._is_running = True
        try:
            for component in self._members:
                if not any(component is started for started in self._started):
                    self._start(component)
        except BaseException as failure:
            try:
                self.stop()
            except ComponentError as error:
                failure.add_note(f"and then: {error}")
            raise

    def stop(self) -> None:
        """Stop in reverse order. Idempotent.

        Raises:
            ComponentError: After all were stopped, if some raised; an ExceptionGroup is its cause.
        """
        self._is_running = False
        errors: list[Exception] = []
        while self._started:
            component = self._started.pop()
            try:
                component.stop()
            except Exception as error:  # noqa: BLE001 - the others are stopped all the same
                error.add_note(f"while stopping component {_name_of(component)!r}")
                errors.append(error)
        if errors:
            told = "; ".join(f"{type(error).__name__}: {error}" for error in errors)
            count = "1 component" if len(errors) == 1 else f"{len(errors)} components"
            message = f"{count} did not stop: {told}"
            raise ComponentError(message) from ExceptionGroup("components that did not stop", errors)

    def _start(self, component: Any) -> None:
        try:
            component.start()
        except Exception as error:
            error.add_note(f"while starting component {_name_of(component)!r}")
            raise
        self._started.append(component)


def _name_of(component: object) -> str:
    return str(getattr(component, "name", "") or type(component).__name__)
