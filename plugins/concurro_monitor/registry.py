"""What lives in a runtime, who refers to it.

And the proxies that are here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from concurro_monitor.foundation import Foundation
from concurro_monitor.network import KINDS
from concurro_monitor.remote import RuntimeProxy

if TYPE_CHECKING:
    from concurro_monitor.awaiting import Answer


class Registry(Foundation):
    """The part of a runtime that knows objects by uid. Thread-safe."""

    def __init__(self, application: Any = None, **settings: Any) -> None:
        super().__init__(application, **settings)
        self._residents: dict[str, Any] = {}
        self._references: dict[str, Counter[str]] = {}
        self._proxies: dict[str, Any] = {}

    # Residents

    def register(self, obj: Any) -> Any:
        """Let an object be found by its `uid`; return it.

        Raises:
            ValueError: Another one has that uid.
        """
        with self._lock:
            uid: str = obj.uid
            known = self._residents.get(uid)
            if known is None:
                self._residents[uid] = obj
        if known is not None and known is not obj:
            message = f"{known!r} is registered as {uid} already"
            raise ValueError(message)
        return obj

    def deregister(self, obj: Any) -> None:
        """Forget an object and all references to it. Idempotent.

        One with a method `deregister` is told.
        """
        with self._lock:
            uid: str = obj.uid
            if self._residents.get(uid) is not obj:
                return
            del self._residents[uid]
            self._references.pop(uid, None)
        told = getattr(obj, "deregister", None)
        if told is not None:
            told()

    def needs_registering(self, obj_type: str, obj_uid: str) -> bool:
        """Say whether nothing of that type and uid is registered.

        Proxies have types of their own, which end in `proxy`.
        """
        if obj_type.endswith("proxy"):
            return obj_uid not in self._proxies
        resident = self._residents.get(obj_uid)
        return resident is None or getattr(resident, "type", obj_type) != obj_type

    def resident(self, uid: str) -> Any:
        """Return what is registered.

        Raises:
            KeyError: Nothing of that uid.
        """
        try:
            return self._residents[uid]
        except KeyError:
            message = f"nothing with the uid {uid!r} lives in {self!r}"
            raise KeyError(message) from None

    def cmd(self, sender_id: str, cmd: Any) -> Any:  # noqa: ARG002 - the seed's signature
        """Call a method of what is registered; return what it gives.

        Args:
            sender_id: Who asks.
            cmd: A dict, or an object, with `uid` and `method`, and maybe `args` and `kwargs`.

        Raises:
            KeyError: Nothing of that uid is registered.
            AttributeError: It has no such method.
        """
        facts: dict[str, Any] = cmd if isinstance(cmd, dict) else _facts_of(cmd)
        method = getattr(self.resident(facts["uid"]), facts["method"])
        return method(*(facts.get("args") or ()), **(facts.get("kwargs") or {}))

    # References

    def inc_ref(self, sender_id: str, uid: str, type: str = "") -> int:  # noqa: A002 - the seed's signature
        """Count a reference to what is registered; return how many there are.

        Raises:
            KeyError: Nothing of that uid and type is registered.
        """
        with self._lock:
            self._check(uid, type)
            counts = self._references.setdefault(uid, Counter())
            counts[sender_id] += 1
            return counts.total()

    def dec_ref(self, sender_id: str, uid: str, type: str = "") -> int:  # noqa: A002 - as above
        """Count a reference less; return how many are left.

        Without any, the object is forgotten, unless something else holds it.

        Raises:
            KeyError: Nothing of that uid and type is registered.
        """
        with self._lock:
            resident = self._check(uid, type)
            counts = self._references.setdefault(uid, Counter())
            counts[sender_id] -= 1
            left = counts.total()
            if left < 1:
                self._references.pop(uid)
        if left < 1 and getattr(resident, "collectable", True):
            self.deregister(resident)
        return max(0, left)

    def dec_refs(self, sender_id: str, msgs: Any) -> list[int]:
        """Count references less, each a uid, or a dict with `uid` and `type`.

        See `dec_ref`.
        """
        counts = []
        for message in msgs:
            facts = {"uid": message} if isinstance(message, str) else message
            counts.append(self.dec_ref(sender_id, facts["uid"], facts.get("type", "")))
        return counts

    def references(self, uid: str) -> int:
        """Return how many references are counted."""
        return self._references.get(uid, _NONE).total()

    def _check(self, uid: str, kind: str) -> Any:
        resident = self.resident(uid)
        if kind and getattr(resident, "type", kind) != kind:
            message = f"{uid} is a {resident.type} here, not a {kind}"
            raise KeyError(message)
        return resident

    # Proxies

    def proxy_from_uid(self, uid: str, proxy: Any = None) -> Any:
        """Return the proxy of a uid.

        The one that is here, else the given one, kept from now on.

        Those of runtimes are made.

        Raises:
            KeyError: There is none here, and none was given.
        """
        with self._lock:
            known = self._proxies.get(uid)
            if known is not None:
                return known
            for part in list(self._parts.values()):
                known = getattr(part, "proxies", {}).get(uid)
                if known is not None:
                    return known
            if proxy is None and uid.partition(":")[0] in KINDS:
                proxy = RuntimeProxy(uid=uid, runtime=self)
            if proxy is None:
                message = f"no proxy of {uid!r} is in {self!r}"
                raise KeyError(message)
            self._proxies[uid] = proxy
            return proxy

    def remove_proxy_from_uid(self, uid: str, proxy: Any = None) -> None:
        """Keep the proxy of a uid no more; a given one only if it is that.

        Idempotent.
        """
        with self._lock:
            if proxy is None or self._proxies.get(uid) is proxy:
                self._proxies.pop(uid, None)

    # What is made here for others

    def init_tessera(
        self, sender_id: str, cls: type, uid: str, args: tuple[Any, ...] = (), **kwargs: Any
    ) -> Answer[Any]:
        """Construct a tessera in this worker; the awaitable gives its proxy.

        Who asked for it holds it until `dec_ref`.

        Raises:
            RuntimeError: This is no worker in which tesserae live.
        """
        residence = self._inhabited(f"tessera {uid}")

        async def create() -> Any:
            proxy = await residence.init_tessera(sender_id, cls, uid, tuple(args), kwargs)
            self.inc_ref(sender_id, uid, "tessera")
            return proxy

        return self.loop.start(create(), f"tessera {uid}")

    def init_task(self, sender_id: str, task: dict[str, Any], uid: str) -> Answer[Any]:
        """Call a tessera from this worker; the awaitable gives the task.

        Args:
            sender_id: Who asks.
            task: `tessera` (its uid), `method`, `args` and `kwargs`.
            uid: Of the task.

        Raises:
            RuntimeError: This is no worker in which tesserae live.
        """
        return self.loop.start(self._inhabited(f"task {uid}").init_task(sender_id, task, uid), f"task {uid}")

    def _inhabited(self, what: str) -> Any:
        if self.residence is None:
            message = f"{what} cannot be made in {self!r}: tesserae live in workers that keep the service `tessera`"
            raise RuntimeError(message)
        return self.residence


def _facts_of(cmd: Any) -> dict[str, Any]:
    return {name: getattr(cmd, name, None) for name in ("uid", "method", "args", "kwargs")}


_NONE: Counter[str] = Counter()
