"""Find the task system that a user named.

In a file, or by its component's name.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from concurro.cli.outcomes import CommandFailure, own_traceback
from concurro.config.spelling import closest_names, did_you_mean
from concurro.errors import ComponentNotFoundError
from concurro.system import TaskSystem
from concurro.wire.importing import importing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from concurro.kernel import Environment

PRIVATE_PREFIX = "concurrent_run_"
"""Name of a job's module whose file is called as another module."""

_METHODS = ("generate_tasks", "task_finished", "is_complete", "gather_result")


@dataclass(frozen=True, slots=True)
class Found:
    """A task system that was found.

    Attributes:
        system_class: It.
        main_file: The file whose neighbours travel; None for a component.
        defaults: What the configuration gives for its parameters.
    """

    system_class: type[TaskSystem]
    main_file: str | None
    defaults: Mapping[str, object]


def find_system(target: str, environment: Environment) -> Found:
    """Return the task system that `FILE[:CLASS]` or `NAME` means.

    Raises:
        CommandFailure: There is no such file, class or name, or not exactly one.
        ComponentError: The component cannot be used.
    """
    file, class_name = _split(target)
    if file is None:
        try:
            system_class = environment.task_system(target)
        except ComponentNotFoundError as error:
            message = f"{error}. A file is named with its ending, like {target}.py"
            raise CommandFailure(message) from None
        return Found(system_class, None, environment.system_defaults(target))
    if not file.is_file():
        raise CommandFailure(_no_such_file(file))
    module = load_file(file)
    system_class = _named_class(module, file, class_name) if class_name else _only_class(module, file)
    return Found(system_class, str(file.resolve()), {})


def load_file(file: Path) -> ModuleType:
    """Import a file as a module; its folder is where it imports from first.

    Raises:
        CommandFailure: It did not import; the message has its traceback.
    """
    file = file.resolve()
    name = _module_name(file)
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        message = f"{file} is not a Python file"
        raise CommandFailure(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with importing(file.name):
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        del sys.modules[name]
        message = f"{file} does not import:\n{own_traceback(error, str(file))}"
        raise CommandFailure(message) from error
    return module


def _split(target: str) -> tuple[Path | None, str]:
    """Return (file, class name).

    The file is None when `target` is the name of a component.
    """
    if Path(target).is_file():
        return Path(target), ""
    path, colon, class_name = target.rpartition(":")
    if colon and (path.endswith(".py") or Path(path).is_file()):
        return Path(path), class_name
    if target.endswith(".py") or "/" in target:
        return Path(target), ""
    return None, ""


def _no_such_file(file: Path) -> str:
    if file.is_dir():
        return f"{file} is a folder; name a file in it"
    if not file.parent.is_dir():
        return f"there is no file {file}: there is no folder {file.parent}"
    closest = closest_names(file.name, [each.name for each in file.parent.glob("*.py")], 1)
    hint = f"; did you mean {file.parent / closest[0]}?" if closest else ""
    return f"there is no file {file}{hint}"


def _module_name(file: Path) -> str:
    """Return the file's stem, or a private name when it means another module."""
    stem = file.stem
    if not stem.isidentifier():
        return PRIVATE_PREFIX + "".join(each if each.isalnum() else "_" for each in stem)
    try:
        known = importlib.util.find_spec(stem)
    except (ImportError, ValueError):  # a module without a spec, as __main__ may be
        return PRIVATE_PREFIX + stem
    if known is None or (known.origin is not None and Path(known.origin).resolve() == file):
        return stem
    return PRIVATE_PREFIX + stem


def _only_class(module: ModuleType, file: Path) -> type[TaskSystem]:
    defined = {name: each for name, each in _systems(module).items() if each.__module__ == module.__name__}
    complete = {name: each for name, each in defined.items() if not _missing(each)}
    if len(complete) == 1:
        return next(iter(complete.values()))
    if complete:
        listed = "".join(f"\n  concurrent run {file}:{name}" for name in sorted(complete))
        message = f"{file} defines {len(complete)} task systems; name one of them:{listed}"
        raise CommandFailure(message)
    if defined:
        faults = "".join(
            f"\n  {name} does not write {', '.join(_missing(each))}" for name, each in sorted(defined.items())
        )
        message = f"{file} defines no complete task system:{faults}"
        raise CommandFailure(message)
    message = f"{file} defines no task system: no class in it implements ITaskSystem"
    imported = sorted(set(_systems(module)) - {"TaskSystem", "ITaskSystem"})
    if imported:
        message += f"; it imports {', '.join(imported)}: name one with concurrent run {file}:{imported[0]}"
    raise CommandFailure(message)


def _named_class(module: ModuleType, file: Path, class_name: str) -> type[TaskSystem]:
    systems = _systems(module)
    found: Any = systems.get(class_name)
    if found is None:
        names = [name for name, each in systems.items() if each is not TaskSystem]
        other = getattr(module, class_name, None)
        what = f"{class_name} in {file} is no task system" if other is not None else f"{file} has no class {class_name}"
        message = f"{what}{did_you_mean(class_name, names)}"
        raise CommandFailure(message)
    missing = _missing(found)
    if missing:
        message = f"{class_name} in {file} does not write {', '.join(missing)}"
        raise CommandFailure(message)
    return cast("type[TaskSystem]", found)


def _systems(module: ModuleType) -> dict[str, type[TaskSystem]]:
    return {
        name: each
        for name, each in vars(module).items()
        if isinstance(each, type) and issubclass(each, TaskSystem) and each is not TaskSystem
    }


def _missing(system_class: type[TaskSystem]) -> list[str]:
    return [name for name in _METHODS if getattr(system_class, name) is getattr(TaskSystem, name)]
