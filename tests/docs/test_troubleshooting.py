"""Each message that the page on troubleshooting quotes is one that the source says."""

from __future__ import annotations

import re

import pytest

from tests.support.programs import ROOT
from tests.support.source_texts import source_texts

PAGE = (ROOT / "docs/troubleshooting.rst").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^``(.+)``$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_said_somewhere(message: str):
    said = [text for text in source_texts() if message in text]

    assert said, f"no text of the source has these words any more: {message}"


def test_the_page_has_what_users_meet_most():
    assert len(MESSAGES) >= 40
    assert len(set(MESSAGES)) == len(MESSAGES)


def test_a_message_that_nobody_says_is_found():
    assert not [text for text in source_texts() if "no master at …: tried … times in vain" in text]
