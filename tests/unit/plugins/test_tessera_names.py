"""How tesserae are named where people read of them."""

from __future__ import annotations

import pytest

from concurro_tessera.records import class_of, is_of_run, run_of, shown

UID = "tess-Store-ad4d047e-1100-442e-8fec-d905d9eb9f47-12@ad4d047e-1100-442e-8fec-d905d9eb9f47"


def test_a_uid_names_the_class_and_the_run():
    assert class_of(UID) == "Store"
    assert run_of(UID) == "ad4d047e-1100-442e-8fec-d905d9eb9f47"
    assert is_of_run(UID, run_of(UID))


def test_people_are_shown_the_class_and_a_short_name():
    assert shown(UID) == "Store ad4d047e-12"


@pytest.mark.parametrize("uid", ["mine", "mine-7", "call-1"])
def test_a_uid_that_somebody_gave_is_shown_as_it_is(uid):
    assert shown(uid) == uid
