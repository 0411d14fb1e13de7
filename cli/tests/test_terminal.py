"""Tables as people see them."""

from __future__ import annotations

from gantry_cli.capacity import in_words
from gantry_cli.terminal import table


def test_columns_are_as_wide_as_their_widest_cell():
    assert table(("A", "LONG HEAD"), [["first", "x"], ["2", "y"]]) == [
        "A      LONG HEAD",
        "first  x",
        "2      y",
    ]
    assert table(("A",), []) == ["A"]


def test_what_somebody_else_wrote_does_not_command_the_terminal():
    assert table(("REASON",), [["red \x1b[31m\nnext\u202e"]]) == ["REASON", "red ?[31m?next?"]


def test_bytes_are_said_in_powers_of_a_thousand():
    assert [in_words(size) for size in (0, 999, 1000, 51_700_000_000, 2 * 10**15, -1500)] == [
        *("0 B", "999 B", "1.0 kB", "51.7 GB", "2.0 PB", "-1.5 kB")
    ]
