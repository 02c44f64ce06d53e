"""Sphinx configuration."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]  # for generate.py, and what it reads

project = "Concurrent"
author = "The Concurrent authors"
copyright = f"2026, {author}"  # noqa: A001 - the name that Sphinx reads
release = version_of("concurro")
version = release

extensions = ["generate"]
exclude_patterns = ["_build"]
nitpicky = True
smartquotes = False
html_theme = "alabaster"
html_theme_options = {"description": "Batch jobs that decide as they go", "page_width": "1000px"}
html_show_sourcelink = False
