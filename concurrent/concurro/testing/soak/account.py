"""What a soak says while it runs, and what it found wrong."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Account:
    """Prints each line, keeps it, and collects what is wrong. Thread-safe.

    Args:
        folder: Where everything that tells of the run is kept.

    Attributes:
        folder: It.
        faults: What is wrong, in the order in which it was found.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: list[str] = []
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._file = (folder / "soak.log").open("w", encoding="utf-8", buffering=1)

    def say(self, text: str) -> None:
        """Print a line with the time since the start [s]."""
        now = time.monotonic() - self._began
        wall = time.strftime("%H:%M:%S")
        with self._lock:
            for line in text.splitlines():
                sys.stdout.write(f"{now:7.2f} {line}\n")
                self._file.write(f"{wall} {now:7.2f} {line}\n")
            sys.stdout.flush()

    def blame(self, text: str) -> None:
        """Keep that something is wrong, and print it."""
        self.faults.append(text)
        self.say(f"WRONG: {text}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
