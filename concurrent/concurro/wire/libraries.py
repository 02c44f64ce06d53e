"""Libraries that differ: what a value needs, and which versions are here.

    slave: the task does not load, or an import in it fails --> `carry` puts versions on the error
    host, application: `differences` compares them with those here, and says so

Only failures come here. What it takes is imported when one does.
"""

from __future__ import annotations

import functools
import itertools
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_ATTRIBUTE = "__concurro_versions__"
_MOST_BYTES = 4 * 1024 * 1024
_MOST_OPCODES = 100_000
_MOST_LIBRARIES = 20
_NEVER = frozenset({"__main__", "__mp_main__", "builtins"}) | sys.stdlib_module_names
_TEXTS = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})


def mentioned(pickled: bytes | memoryview) -> set[str]:
    """Return the top-level modules that the globals of a pickle are in.

    Of a very long pickle only those at its beginning. Loads nothing.
    """
    import pickletools  # noqa: PLC0415 - only who fails pays for it

    found: set[str] = set()
    texts: list[Any] = []
    memo: dict[Any, Any] = {}
    try:
        for opcode, argument, _ in itertools.islice(pickletools.genops(bytes(pickled[:_MOST_BYTES])), _MOST_OPCODES):
            name = opcode.name
            if name in _TEXTS:
                texts.append(argument)
            elif name == "MEMOIZE":
                memo[len(memo)] = texts[-1] if texts else None
            elif name in _PUTS:
                memo[argument] = texts[-1] if texts else None
            elif name in _GETS:
                texts.append(memo.get(argument))
            else:
                if name == "STACK_GLOBAL" and len(texts) > 1 and isinstance(texts[-2], str):
                    found.add(texts[-2].partition(".")[0])
                elif name == "GLOBAL":
                    found.add(str(argument).partition(" ")[0].partition(".")[0])
                texts = [None]
    except Exception:  # noqa: BLE001 - bytes that are no pickle: what was found before counts
        return found - _NEVER
    return found - _NEVER


def blamed(error: BaseException) -> set[str]:
    """Return the top-level modules that an error of an import is about."""
    names: list[Any] = []
    if isinstance(error, ImportError):
        names.append(error.name)
    elif isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        names.append(error.obj.__name__)
    return {name.partition(".")[0] for name in names if isinstance(name, str) and name} - _NEVER


@functools.cache
def version_of(module: str) -> tuple[str, str]:
    """Return the distribution of a top-level module, and its version here.

    The version is empty where the module is not; where it is of no distribution, it is "?".
    """
    from importlib import metadata, util  # noqa: PLC0415 - only who fails pays for it

    try:
        return module, metadata.version(module)
    except Exception:  # noqa: BLE001 - not found, or what describes it is damaged
        try:
            for name in metadata.packages_distributions().get(module, ()):
                return name, metadata.version(name)
            spec = util.find_spec(module)
        except Exception:  # noqa: BLE001 - a finder of somebody's; then nothing is known
            return module, "?"
        return module, "" if spec is None else "?"


def versions_of(modules: Iterable[str]) -> dict[str, str]:
    """Return the versions here of Python, and of what modules are of."""
    found = dict(version_of(module) for module in sorted(modules)[:_MOST_LIBRARIES])
    return {**found, "Python": "{}.{}".format(*sys.version_info[:2])}


def carry(error: BaseException, modules: Collection[str]) -> None:
    """Put the versions here of some modules on an error that travels."""
    if modules:
        try:
            setattr(error, _ATTRIBUTE, versions_of(modules))
        except Exception:  # noqa: BLE001 - an exception may refuse attributes in any way; then it goes without
            return


def differences(error: BaseException | None, there: str, here: str = "here") -> str:
    """Say which versions that an error carries differ here.

    Empty for none.

    Args:
        error: As it arrived.
        there: Where it is from, as `on slave north-1`.
        here: Where this is, in words.
    """
    try:
        carried = dict(itertools.islice(vars(error)[_ATTRIBUTE].items(), _MOST_LIBRARIES + 1))
    except Exception:  # noqa: BLE001 - most carry nothing, and an exception may refuse to be looked at in any way
        return ""
    told = []
    for name, version in carried.items():
        if not (isinstance(name, str) and isinstance(version, str)):
            continue
        own = "{}.{}".format(*sys.version_info[:2]) if name == "Python" else _version_of_distribution(name)
        if own != version and "?" not in (own, version):
            told.append(f"{name} {own or 'not installed'} {here}, {version[:80] or 'not installed'} {there}")
    return "; ".join(told)


def needed_here(modules: set[str], here: str = "here") -> str:
    """Say which versions of some modules are here; empty for none."""
    known = dict(version_of(module) for module in sorted(modules)[:_MOST_LIBRARIES])
    found = [f"{name} {version or 'not installed'}" for name, version in known.items() if version != "?"]
    return f"{', '.join(found)} {here}" if found else ""


def _version_of_distribution(name: str) -> str:
    from importlib import metadata  # noqa: PLC0415 - only who fails pays for it

    try:
        return metadata.version(name)
    except Exception:  # noqa: BLE001 - not found, or what describes it is damaged; it may be a module of none
        return version_of(name)[1]
