"""`@tessera`: a class whose instances may live elsewhere."""

from __future__ import annotations

from typing import Any, TypeVar

from concurro import ConfigError, NotPicklableError
from concurro_tessera.arguments import pack_arguments
from concurro_tessera.arrays import ArrayProxy
from concurro_tessera.callers import caller_here
from concurro_tessera.failures import of_arguments
from concurro_tessera.parameters import link, parameter_class
from concurro_tessera.proxies import Seat, TesseraProxy
from concurro_tessera.records import KIND, RUN

C = TypeVar("C", bound=type)

SETTINGS = {"restarts": 0, "max_retries": 0, "max_pending": None}
"""What the decorator takes, and what holds without it."""


def tessera(*args: Any, **settings: Any) -> Any:
    """Give a class `remote`: `@tessera`, or `@tessera(restarts=1)`.

    `Klass(...)` stays an ordinary local object.

    Args:
        args: The class, when it is used without settings.
        settings: `restarts`: how often an instance is constructed again, elsewhere, after its worker
            was lost. `max_retries`: of each call. `max_pending`: calls that may wait for one instance.

    Raises:
        ConfigError: A setting is none.
    """
    if len(args) == 1 and isinstance(args[0], type) and not settings:
        return _enrich(args[0], {})
    if args:
        message = "use @tessera, or @tessera(restarts=..., max_retries=..., max_pending=...), on a class"
        raise ConfigError(message)
    _check(settings)
    return lambda cls: _enrich(cls, settings)


def _enrich(cls: C, settings: dict[str, Any]) -> C:
    enriched: Any = cls
    enriched.concurro_settings = {**SETTINGS, **getattr(cls, "concurro_settings", {}), **settings}
    enriched.remote = classmethod(_remote)
    enriched.parameter = classmethod(_parameter)
    enriched.select_worker = staticmethod(TesseraProxy.select_worker)
    return cls


def _check(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if name not in SETTINGS:
            message = f"@tessera takes {', '.join(SETTINGS)}, not {name!r}"
            raise ConfigError(message)
        if value is None and SETTINGS[name] is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            message = f"{name} is a whole number from 0 on, got {value!r}"
            raise ConfigError(message)


def _remote(  # the names of the arguments are the words of users
    cls: type,
    /,
    *args: Any,
    runtime: Any = None,
    len: int | None = None,  # noqa: A002 - a fixed public name
    max_retries: int | None = None,
    **kwargs: Any,
) -> TesseraProxy | ArrayProxy:
    """Construct an instance in a worker; return its proxy at once.

    Args:
        cls: The class.
        args: Of the constructor.
        runtime: Uid or proxy of the worker; None lets the monitor choose.
        len: Of an array of instances, one after the other on each worker in turn; None for a single one.
        max_retries: Of each call that does not say; None: what the decorator says.
        kwargs: Of the constructor.

    Raises:
        NotPicklableError: An argument cannot travel; names the culprit.
        NoApplicationError: There is no runtime here.
    """
    settings = settings_of(cls, max_retries)
    if len is None:
        return create(cls, args, kwargs, settings, uid_of(runtime))
    if isinstance(len, bool) or not isinstance(len, int) or len < 0:
        message = f"len is a whole number from 0 on, got {len!r}"
        raise ConfigError(message)
    places = (uid_of(runtime) or f"#{index}" for index in range(len))
    return ArrayProxy(cls, [create(cls, args, kwargs, settings, place) for place in places])


def _parameter(cls: type, /, *args: Any, cached: bool = False, runtime: Any = None, **kwargs: Any) -> Any:
    """Return a local instance that is linked to a root.

    Which lives in a worker.

    Args:
        cls: The class.
        args: Of both constructors.
        cached: Whether every push publishes.
        runtime: Uid or proxy of the worker; None lets the monitor choose.
        kwargs: Of both constructors.

    Raises as the constructor does, and as `remote` does.
    """
    local = parameter_class(cls)(*args, **kwargs)
    settings = {**settings_of(cls, None), "parameter": True}
    proxy = create(cls, args, kwargs, settings, uid_of(runtime))
    proxy._seat.is_parameter = True  # noqa: SLF001 - it was just made
    return link(local, proxy, cached=cached)


def settings_of(cls: type, max_retries: int | None) -> dict[str, Any]:
    """Return the settings of a class, with retries of its own.

    Raises:
        ConfigError: They are no number of retries.
    """
    settings: dict[str, Any] = dict(getattr(cls, "concurro_settings", SETTINGS))
    if max_retries is not None:
        _check({"max_retries": max_retries})
        settings["max_retries"] = max_retries
    return settings


def create(  # noqa: PLR0913 - what a tessera is made of
    cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], settings: dict[str, Any], runtime: str, uid: str = ""
) -> TesseraProxy:
    """Construct an instance somewhere, or in a given worker; return its proxy.

    Named as given, or anew.
    """
    caller = caller_here()
    try:
        packed = pack_arguments(caller.runtime.application.pack, (cls, *args), kwargs)
    except NotPicklableError as error:
        raise of_arguments(error, f"{cls.__name__}()", before=1) from error.__cause__
    uid = uid or f"{KIND}-{cls.__name__}-{caller.new_uid()}{RUN}{caller.run}"
    seat = Seat(caller, uid, cls, settings["max_retries"])
    with caller.lock:
        proxy = caller.proxies[uid] = TesseraProxy(seat)
    seat.place(packed, settings, runtime)
    return proxy


def uid_of(runtime: Any) -> str:
    """Return the uid of a runtime that was given; empty for none.

    Raises:
        ConfigError: It is no runtime.
    """
    if runtime is None:
        return ""
    uid = runtime if isinstance(runtime, str) else getattr(runtime, "uid", None)
    if not isinstance(uid, str):
        message = f"runtime is one of runtime.workers, or the uid of one such as 'worker:0:1', got {runtime!r}"
        raise ConfigError(message)
    return uid
