"""Parameters: local objects that are linked to a root elsewhere.

    Klass.parameter(...) --> local instance --link--> root: a tessera of the same class
    obj.method(...)                   here alone
    obj.method(..., propagate=True)   here, and at the root
    set, push: here to the root       get, pull: from the root

A copy that travels keeps the link. The class of both is a subclass of the user's, made at first use.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from concurro_monitor import Answer, here
from concurro_tessera.proxies import STATE, UPDATE, TesseraProxy, proxy_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro_tessera.residents import Tessera

_LINK = "concurro_link"


class _Link:
    """What ties an object to its root.

    Attributes:
        proxy: Of the root; None in the root itself.
        root: The tessera whose object this is; None elsewhere.
        cached: Whether every push publishes.
        sent: What was sent to the root last.
        published: The copy that the last push put on every machine.
    """

    __slots__ = ("cached", "proxy", "published", "root", "sent")

    def __init__(self, proxy: TesseraProxy | None, root: Tessera | None = None, *, cached: bool = False) -> None:
        self.proxy = proxy
        self.root = root
        self.cached = cached
        self.sent: Any = None
        self.published: Any = None


class ParameterMixin:
    """What a parameter has beside its class's own.

    Made by `Klass.parameter(...)`.
    """

    concurro_link: _Link | None = None

    @property
    def has_tessera(self) -> bool:
        """Whether it is linked."""
        return self.concurro_link is not None

    @property
    def is_tessera(self) -> bool:
        """Whether it is the root."""
        link = self.concurro_link
        return link is not None and link.root is not None

    @property
    def is_proxy(self) -> bool:
        """Whether it is linked to a root elsewhere."""
        link = self.concurro_link
        return link is not None and link.proxy is not None

    @property
    def is_parameter(self) -> bool:
        """Whether it is a parameter: yes."""
        return True

    @property
    def ref(self) -> TesseraProxy | None:
        """The reference of the root; None when it is not linked."""
        link = self.concurro_link
        if link is None:
            return None
        if link.root is None:
            return link.proxy
        root = link.root
        place = (root.address, "", root.incarnation)
        return proxy_of(root.uid, root.cls, 0, root.restarts, *place, is_parameter=True)

    @property
    def cached(self) -> bool:
        """Whether every push publishes."""
        link = self.concurro_link
        return link is not None and link.cached

    @cached.setter
    def cached(self, cached: bool) -> None:
        if self.concurro_link is not None:
            self.concurro_link.cached = cached

    def make_parameter(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - as that of a proxy
        """Return this: it is one."""
        return self

    def set(self, item: str, value: Any) -> Any:
        """Set an attribute here and at the root; sent at once, awaitable."""
        setattr(self, item, value)
        proxy = _proxy(self)
        return Answer.of(None) if proxy is None else proxy.set_attr(item, value)

    def get(self, item: str) -> Any:
        """Return an awaitable of the root's latest value of an attribute."""
        proxy = _proxy(self)
        return Answer.of(getattr(self, item)) if proxy is None else proxy.get_attr(item)

    def push(self, attr: str | None = None, publish: bool = False) -> Answer[None]:  # noqa: FBT001, FBT002 - the seed's signature
        """Give the root an attribute, or all of them; sent at once, awaitable.

        Args:
            attr: Which; None for all.
            publish: Whether every machine gets a copy as well.
        """
        proxy = _proxy(self)
        sent = None if proxy is None else proxy._seat.call(UPDATE, (state_of(self, attr),), {})  # noqa: SLF001 - its own class's neighbour
        published = self.publish() if publish or self.cached else None

        link = self.concurro_link

        async def pushed() -> None:
            if sent is not None:
                await sent
            if published is not None:
                copy = await published
                if link is not None:
                    before, link.published = link.published, copy
                    if before is not None:
                        await here().drop(before)

        return here().loop.start(pushed(), "the end of a push")

    def pull(self, attr: str | None = None) -> Answer[None]:
        """Take an attribute from the root, or all of them.

        Asked for at once, awaitable.
        """
        proxy = _proxy(self)
        if proxy is None:
            return Answer.of(None)
        state = proxy._seat.call(STATE, (attr,), {}).result()  # noqa: SLF001 - as above

        async def pulled() -> None:
            update(self, await state)

        return here().loop.start(pulled(), "the end of a pull")

    def publish(self) -> Answer[Any]:
        """Put a copy on every machine; the awaitable gives its reference."""
        return here().put(self, publish=True, reply=True)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Travel with the link."""
        link = self.concurro_link
        return _arrived, (type(self).concurro_class, state_of(self), self.ref, link is not None and link.cached)  # type: ignore[attr-defined]  # of every class that is made here


def _proxy(parameter: ParameterMixin) -> TesseraProxy | None:
    link = parameter.concurro_link
    return None if link is None else link.proxy


_made: WeakKeyDictionary[type, type] = WeakKeyDictionary()


def parameter_class(cls: type) -> type:
    """Return the class of a class's parameters."""
    if issubclass(cls, ParameterMixin):
        return cls
    made: type | None = _made.get(cls)
    if made is None:
        methods: dict[str, Any] = {
            name: _propagating(name, function)
            for name, function in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("__") and not isinstance(inspect.getattr_static(cls, name), staticmethod)
            if not hasattr(ParameterMixin, name)
        }
        namespace = {**methods, "concurro_class": cls, "__module__": cls.__module__, "__doc__": cls.__doc__}
        made = type(cls.__name__, (ParameterMixin, cls), namespace)
        made.__qualname__ = cls.__qualname__
        _made[cls] = made
    return made


def _propagating(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that also runs at the root when it is told to."""

    @functools.wraps(function)
    def method(self: Any, *args: Any, propagate: bool = False, **kwargs: Any) -> Any:
        proxy = _proxy(self)
        if not propagate or proxy is None:
            return function(self, *args, **kwargs)
        sent = proxy._seat.call(name, args, kwargs)  # noqa: SLF001 - its own class's neighbour
        self.concurro_link.sent = sent
        if not inspect.iscoroutinefunction(function):
            return function(self, *args, **kwargs)

        async def both() -> Any:
            value = await function(self, *args, **kwargs)
            await sent
            return value

        return both()

    return method


def link(parameter: Any, proxy: TesseraProxy, *, cached: bool = False) -> Any:
    """Tie an object to its root; return it."""
    parameter.__dict__[_LINK] = _Link(proxy, cached=cached)
    return parameter


def linked(proxy: TesseraProxy, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a new object that is tied to a root."""
    made = parameter_class(proxy._seat.cls)  # noqa: SLF001 - its own class's neighbour
    local = made(*args, **kwargs) if args or kwargs or _takes_nothing(made) else object.__new__(made)
    return link(local, proxy)


def _takes_nothing(cls: type) -> bool:
    try:
        inspect.signature(cls).bind()
    except (TypeError, ValueError):
        return False
    return True


def root(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], tessera: Tessera) -> Any:
    """Return the object of a tessera that is the root of a parameter."""
    made = parameter_class(cls)
    constructed = made(*args, **kwargs)
    constructed.__dict__[_LINK] = _Link(None, tessera)
    return constructed


def as_root(plain: Any, tessera: Tessera) -> Any:
    """Return a copy of an object that is the root of a parameter."""
    made: Any = object.__new__(parameter_class(type(plain)))
    update(made, state_of(plain))
    made.__dict__[_LINK] = _Link(None, tessera)
    return made


def state_of(parameter: Any, attr: str | None = None) -> dict[str, Any]:
    """Return the attributes of an object, or one of them.

    Raises:
        AttributeError: It has none of that name.
    """
    if attr is not None:
        return {attr: getattr(parameter, attr)}
    return {name: value for name, value in vars(parameter).items() if name != _LINK}


def update(parameter: Any, state: dict[str, Any]) -> None:
    """Set attributes of an object."""
    for name, value in state.items():
        setattr(parameter, name, value)


def _arrived(cls: type, state: dict[str, Any], proxy: TesseraProxy | None, cached: bool) -> Any:  # noqa: FBT001 - as it travels
    """Return a parameter that travelled."""
    made = parameter_class(cls)
    arrived: Any = object.__new__(made)
    update(arrived, state)
    return arrived if proxy is None else link(arrived, proxy, cached=cached)
