"""Lines of keys, checked against the standard reader."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from concurro.config.listing import to_toml, to_toml_key
from concurro.config.toml_lines import key_lines, line_of

TRICKY = '''\
# [not.a.table]
[one] # a comment with = and "quotes"
plain = 1
"quoted.key" = "a # no comment"
text = """
fake = 1
[fake]
"""
list = [
  "x = 1", # y = 2
  { z = 3 },
]
literal = \'\'\'
also = "fake"\'\'\'
[one.two]
a.b = 1.5
[[many]]
last = 'end'
'''


def test_finds_keys_between_comments_texts_and_lists():
    lines = key_lines(TRICKY)

    assert lines == {
        ("one",): 2,
        ("one", "plain"): 3,
        ("one", "quoted.key"): 4,
        ("one", "text"): 5,
        ("one", "list"): 9,
        ("one", "literal"): 13,
        ("one", "two"): 15,
        ("one", "two", "a", "b"): 16,
        ("many",): 17,
        ("many", "last"): 18,
    }


def test_a_key_inside_an_inline_table_has_the_line_of_its_table():
    lines = key_lines("[slave]\nresources = { gpu = 1 }\n")

    assert line_of(lines, ("slave", "resources", "gpu")) == 2
    assert line_of(lines, ("unknown",)) is None


values = st.recursive(
    st.booleans() | st.integers(-99, 99) | st.text(st.characters(codec="ascii", min_codepoint=32), max_size=8),
    lambda children: st.lists(children, max_size=3),
    max_leaves=4,
)
keys = st.text("ab-_ .=#[", min_size=1, max_size=5)


@given(st.dictionaries(keys, st.dictionaries(keys, values, max_size=4), max_size=4))
def test_every_key_that_is_written_is_found_where_it_was_written(tables):
    written, expected = [], {}
    for table, entries in tables.items():
        written.append(f"[{to_toml_key(table)}]")
        expected[table,] = len(written)
        for key, value in entries.items():
            written.append(f"{to_toml_key(key)} = {to_toml(value)}")
            expected[table, key] = len(written)
    text = "\n".join(written)

    lines = key_lines(text)

    assert tomllib.loads(text) == tables
    assert lines == expected
