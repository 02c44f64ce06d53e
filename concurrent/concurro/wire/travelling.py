"""Which modules travel by value, because no other machine can import them."""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

FILE_PLUGIN_PREFIX = "concurro_file_plugin_"
"""Private names of plugins that were loaded from a file."""

_MAIN_NAMES = ("__main__", "__mp_main__")
_SITE_FOLDERS = frozenset({"site-packages", "dist-packages"})
_LONGEST_NAME = 255  # what pickle's SHORT_BINUNICODE can hold


class Travelling:
    """The modules of this process that travel by value.

    They are `__main__`, file plugins, what `ship` names, and the neighbours of `main_file`:
    modules whose file lies in its folder or below. Never: installed packages, the standard
    library, extension modules, and Concurrent itself. A module imported later is noticed.
    A process that only receives code (worker, host) has no neighbours: `Travelling()`.

    Args:
        main_file: The script; None for no neighbours.
        ship: Module names, or folders whose modules travel (`[application] ship`).
        folder: The folder of the neighbours when there is no script.
    """

    def __init__(
        self, main_file: str | Path | None = None, ship: Sequence[str] = (), *, folder: str | Path | None = None
    ) -> None:
        self.main_file = Path(main_file).resolve() if main_file is not None else None
        folders = [_top_folder(self.main_file.parent)] if self.main_file is not None else []
        if folder is not None:
            folders.append(Path(folder).resolve())
        folders = [each for each in folders if not _is_installed(each)]
        named = []
        for entry in ship:
            if _looks_like_folder(entry):
                folders.append(Path(entry).expanduser().resolve())
            else:
                named.append(entry)
        self.folders = tuple(folders)
        self._named = tuple(named)
        self._seen = -1
        self._known: dict[str, tuple[ModuleType, bool]] = {}
        self._pattern = re.compile(b"(?!)")

    @classmethod
    def of_main(cls, ship: Sequence[str] = ()) -> Travelling:
        """Return what travels from here: the script decides, or a prompt's folder."""
        main = sys.modules.get("__main__")
        main_file = getattr(main, "__file__", None)
        if main_file is not None:
            return cls(main_file, ship)
        here = Path.cwd()
        is_prompt = any(not entry or Path(entry) == here for entry in sys.path[:1])
        return cls(None, ship, folder=here if is_prompt else None)

    def covers(self, module_name: str | None) -> bool:
        """Say whether what that module defines travels by value."""
        if module_name is None:
            return False
        if module_name in _MAIN_NAMES or module_name.startswith(FILE_PLUGIN_PREFIX):
            return True
        module = sys.modules.get(module_name)
        if module is None:
            return False
        known = self._known.get(module_name)
        if known is None or known[0] is not module:
            known = self._known[module_name] = (module, self._decide(module_name, module))
        return known[1]

    def mentioned(self, pickled: bytes) -> bool:
        """Say whether a pickle refers to such a module.

        Seldom it also does when a text in it is the name of one.
        """
        if len(sys.modules) != self._seen:
            self.refresh()
        return self._pattern.search(pickled) is not None

    def refresh(self) -> None:
        """Look at the imported modules again; it happens by itself as well."""
        modules = list(sys.modules)
        self._seen = len(modules)
        names = {name for name in modules if isinstance(name, str) and self.covers(name)} | set(_MAIN_NAMES)
        encoded = sorted(name.encode() for name in names)
        # As pickle writes a name: SHORT_BINUNICODE, length, text. A longer text that contains it does not match.
        exact = [re.escape(bytes([len(name)]) + name) for name in encoded if len(name) <= _LONGEST_NAME]
        self._pattern = re.compile(b"\x8c(?:" + b"|".join(exact) + b")", re.DOTALL)

    def modules(self) -> dict[str, ModuleType]:
        """Return the imported modules that travel, by name."""
        return {
            name: module for name, module in list(sys.modules.items()) if isinstance(name, str) and self.covers(name)
        }

    def roots(self) -> tuple[Path, ...]:
        """Return the folders in which sources of modules are looked for."""
        roots = [_root_of(folder) for folder in self.folders]
        for name in self._named:
            file = getattr(sys.modules.get(name), "__file__", None)
            if isinstance(file, str):
                roots.append(_root_of(Path(file).resolve().parent))
        return tuple(dict.fromkeys(roots))

    def _decide(self, name: str, module: ModuleType) -> bool:
        top = name.partition(".")[0]
        if top == "concurro" or top.startswith("concurro_"):
            return False
        if any(name == named or name.startswith(named + ".") for named in self._named):
            return True
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith((".py", ".pyc")):
            return False
        path = Path(file).resolve()
        return any(path.is_relative_to(folder) for folder in self.folders) and not _is_installed(path)


def _top_folder(folder: Path) -> Path:
    """Return the folder of the outermost package around `folder`, or itself."""
    while (folder / "__init__.py").exists() and (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return folder


def _root_of(folder: Path) -> Path:
    """Return where imports of what is in `folder` start."""
    top = _top_folder(folder)
    return top.parent if (top / "__init__.py").exists() else top


def _looks_like_folder(entry: str) -> bool:
    return "/" in entry or entry.startswith(("~", ".")) or (Path(entry).is_dir() and entry not in sys.modules)


def _is_installed(path: Path) -> bool:
    """Say whether `path` is of the standard library or installed packages."""
    if not _SITE_FOLDERS.isdisjoint(path.parts):
        return True
    library = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    return any(path.is_relative_to(folder) for folder in library)
