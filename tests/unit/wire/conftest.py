"""A script that packs a value, and a stranger that unpacks it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SENDER_EPILOGUE = """
import msgpack as _msgpack, sys as _sys
from concurro.wire.blobs import BlobStore as _Store
from concurro.wire.payload import Packer as _Packer
from concurro.wire.travelling import Travelling as _Travelling
_packer = _Packer(_Store(), _Travelling.of_main())
_payload, _blobs = _packer.dumps(value)
_parts = [bytes(_packer.blobs.get(_digest)) for _, _digest, _ in _blobs or ()]
open(_sys.argv[1], "wb").write(_msgpack.packb([_payload, _blobs, _parts]))
"""

RECEIVER_PROLOGUE = """
import msgpack, sys
from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling
packer = Packer(BlobStore(), Travelling())
values = []
for file in sys.argv[1:]:
    payload, blobs, parts = msgpack.unpackb(open(file, "rb").read())
    for part in parts:
        packer.blobs.put(part, "test")
    values.append(packer.loads(payload, blobs))
value = values[0]
"""


@pytest.fixture
def packer() -> Packer:
    return Packer(BlobStore(), Travelling())


@pytest.fixture
def give_blobs() -> Callable[[Packer, Packer, list | None], None]:
    """Return what the links do: bring the blobs of a payload to its receiver."""

    def give(sender: Packer, receiver: Packer, blobs: list | None) -> None:
        for _, digest, _ in blobs or ():
            if digest not in receiver.blobs:
                receiver.blobs.put(bytes(sender.blobs.get(digest)), "arrived")

    return give


@pytest.fixture
def pack_in_script(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that runs files as a job's folder and packs what `main.py` calls `value`."""
    folders = iter(range(1000))

    def pack(main: str, files: dict[str, str] | None = None) -> Path:
        folder = tmp_path / f"job{next(folders)}"
        folder.mkdir()
        for name, text in (files or {}).items():
            file = folder / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (folder / "main.py").write_text(main + SENDER_EPILOGUE)
        packed = tmp_path / f"{folder.name}.packed"
        _run([str(folder / "main.py"), str(packed)], tmp_path)
        for file in sorted(folder.rglob("*.py")):
            file.unlink()  # the receiver has no access to the folder
        return packed

    return pack


@pytest.fixture
def unpack_elsewhere(tmp_path: Path) -> Callable[..., str]:
    """Return a function that unpacks in another process and folder, and gives what the code prints."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def unpack(code: str, *packed: Path) -> str:
        return _run(["-c", RECEIVER_PROLOGUE + code, *map(str, packed)], elsewhere).strip()

    return unpack


def _run(arguments: list[str], folder: Path) -> str:
    run = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
