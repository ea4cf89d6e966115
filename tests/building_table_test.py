"""Tests that the texts of tables arrive unchanged, whatever characters they hold."""

import pytest

from clef_jax.building import table

NUM_ROWS = 3000
"""DuckDB guesses other characters for tables of more than 2,048 rows."""


@pytest.mark.parametrize(
    "text",
    ["{'SR': 100.0, 'NORM': 0.0}", 'wide "QRS", left axis', "O''Brien's", "#1", "a\\b", "x|y;z"],
)
def test_quoted_texts_are_read_unchanged(text, tmp_path):
    path, quoted = tmp_path / "table.csv", text.replace('"', '""')
    rows = [f'{number},"{quoted}",end' for number in range(NUM_ROWS)]
    path.write_text("\n".join(["number,text,last", *rows]) + "\n")
    with table.connect(tmp_path) as database:
        table.create_view(database, "texts", path, ("number", "text", "last"))
        read = table.read_rows(database, "texts")
        assert table.count_unreadable(database) == {}
    assert [row["number"] for row in read] == [str(number) for number in range(NUM_ROWS)]
    assert {(row["text"], row["last"]) for row in read} == {(text, "end")}
