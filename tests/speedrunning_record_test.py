"""The table of records: each row once, no foreign file replaced, and the same bytes from the same
rows."""

import concurrent.futures
import json
import pathlib

import pytest
from culprits import refuses

from clef_jax.speedrunning import plot, record, table

SETTINGS = {
    "trained": {
        "size": "tiny",
        "num_steps": 1200,
        "global_batch_size": 64,
        "window_seconds": 5.0,
    },
    "supervised": {"size": "small", "num_epochs": 1},
    "scored": {},
}


def make(number, *, minutes=0.0, panel="p", kind="scored", value=0.8):
    tasks = {"ptb_xl_sex": {"value": value, "num_patients": 40, "tested": "test split"}}
    return {
        "format": record.FORMAT,
        "id": f"id {number}",
        "name": f"entry {number}",
        "kind": kind,
        "score": {"value": value, "low": value - 0.05, "high": value + 0.05},
        "few_labels": {"fraction": 0.1, "score": None},
        "tasks": tasks,
        "minutes": minutes,
        "dollars": record.dollars(minutes, 2.0),
        "risk": None,
        "panel": {"digest": panel, "missing": ["cinc2017_af"]},
        "device": {"platform": "cpu", "kind": "cpu", "count": 1, "cores": 2, "note": record.SHARED},
        "command": "clef-jax speedrun",
        "settings": SETTINGS[kind],
        "fingerprint": "f",
        "training_data": None,
        "test_folds": [9, 10],
        "num_resamples": 100,
        "version": {},
    }


def test_a_row_is_appended_once(tmp_path):
    path = tmp_path / "records.jsonl"
    assert record.append(path, make(1)) == (1, True)
    assert record.append(path, make(2)) == (2, True)
    assert record.append(path, make(1)) == (1, False)
    assert [row["id"] for row in record.read(path)] == ["id 1", "id 2"]
    assert list(tmp_path.iterdir()) == [path]


def test_programs_append_one_after_the_other(tmp_path):
    path = tmp_path / "records.jsonl"
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        lines = list(pool.map(lambda number: record.append(path, make(number))[0], range(3)))
    assert sorted(lines) == [1, 2, 3]
    assert sorted(row["id"] for row in record.read(path)) == ["id 0", "id 1", "id 2"]


@pytest.mark.parametrize("text", ["no json\n", '{"a": 1}\n', "[1]\n"])
def test_a_foreign_file_is_not_changed(text, tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text(text)
    with refuses(str(path), problem="foreign_file"):
        record.append(path, make(1))
    assert path.read_text() == text


@pytest.mark.parametrize(
    "change",
    [
        {"score": {"value": "0.8", "low": 0.7, "high": 0.9}},
        {"score": {"value": 0.8}},
        {"tasks": {"ptb_xl_sex": {"value": None}}},
        {"tasks": []},
        {"kind": "guessed"},
        {"kind": "trained"},  # without the settings of a training
        {"device": {}},
        {"minutes": "3"},
        {"command": None},
    ],
)
def test_a_damaged_row_is_named_by_its_line(change, tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (make(1), make(2) | change)) + "\n")
    with refuses("Line 2", str(path), problem="foreign_file"):
        record.read(path)


def test_a_truncated_row_is_named_by_its_line(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(make(1)) + "\n" + json.dumps(make(2))[:300] + "\n")
    with refuses("Line 2", str(path), problem="foreign_file"):
        record.read(path)


def test_bytes_that_are_no_text_are_named_by_their_line(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(json.dumps(make(1)).encode() + b"\n\xff\n")
    with refuses("Line 2", str(path), problem="foreign_file"):
        record.read(path)


def test_a_row_that_stands_twice_is_no_second_seed(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(json.dumps(make(number)) for number in (1, 2, 1)) + "\n")
    with refuses("1", "3", str(path), problem="double_row"):
        record.read(path)


def test_rows_of_another_version_are_refused(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(make(1) | {"format": 99}) + "\n")
    with refuses(str(path), problem="other_format"):
        record.read(path)


def test_a_line_that_is_not_there_is_named(tmp_path):
    with refuses("--check=2", problem="no_such_row"):
        record.row_at([make(1)], 2, tmp_path / "records.jsonl")


def test_dollars_follow_from_minutes_and_price():
    assert record.dollars(30, 2.5) == pytest.approx(1.25)
    assert record.dollars(30, None) is None


def test_the_device_of_a_cpu_is_marked():
    device = record.device()
    assert device["platform"] == "cpu"
    assert device["note"] == record.SHARED


def test_the_table_has_a_row_per_record_with_the_best_first():
    rows = [make(1, value=0.7), make(2, value=0.9, minutes=3.0, kind="trained")]
    text = table.render(rows, "records.svg")
    lines = [line for line in text.splitlines() if line.startswith("| ") and "entry " in line]
    assert ["entry 2" in lines[1], "entry 1" in lines[2]] == [True, True]
    assert record.SHARED in text
    assert "tiny, 1,200 steps" in lines[1]
    assert "](records.svg)" in text
    assert "cinc2017_af" in text


def test_rows_that_differ_by_their_seed_alone_share_a_line_with_their_means():
    seeds = [make(1, value=0.7), make(2, value=0.8), make(3, value=0.75)]
    for seed, row in enumerate(seeds):
        row |= {"name": "entry", "command": f"clef-jax speedrun --seed={seed} --size=small"}
    other = make(4, value=0.9) | {"name": "entry", "command": "clef-jax speedrun --size=large"}
    first, second = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.render([*seeds, other], "records.svg").splitlines()
        if "| entry |" in line and "line" not in line
    ]
    assert first[:4] == ["4", "entry", ".900 [.850, .950]", ""]
    assert second[:4] == ["1, 2, 3", "entry", ".750 [.700, .800]", ".700, .800, .750"]
    texts = {text.get_text() for panel in plot.draw([*seeds, other]).axes for text in panel.texts}
    assert {"1", "2", "3", "4", "1, 2, 3  entry, 0.750", "4  entry, 0.900"} == texts


def test_the_table_says_how_long_a_row_was_trained():
    rows = [make(1, kind="supervised"), make(2)]
    assert [table.training_text(row) for row in rows] == ["small, 1 epoch", ""]


def test_rows_of_different_panels_stand_in_different_tables():
    text = table.render([make(1), make(2, panel="q")], "records.svg")
    assert text.count("| line |") == 2


def test_a_table_between_marks_leaves_the_other_text(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# Title\n{table.BEGIN}\nold\n{table.END}\nrest\n")
    table.write(path, [make(1)], "records.svg")
    first = path.read_text()
    assert first.startswith("# Title\n")
    assert first.endswith("rest\n")
    assert "old" not in first
    table.write(path, [make(1)], "records.svg")
    assert path.read_text() == first


@pytest.mark.parametrize(
    "text",
    [
        f"# Mine\n{table.END}\nx\n{table.BEGIN}\nprecious\n",
        f"{table.BEGIN}\nprecious\n",
        f"{table.BEGIN}\n{table.END}\nprecious\n{table.BEGIN}\n{table.END}\n",
        f"# Records\n{table.END}\nprecious\n",
    ],
)
def test_a_page_whose_marks_are_not_a_pair_is_not_changed(text, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(text)
    with refuses(str(path), table.BEGIN, table.END, problem="foreign_file"):
        table.write(path, [make(1)], "records.svg")
    assert path.read_text() == text


def test_a_name_cannot_break_table_page_or_plot(tmp_path):
    name = f"a | b\n<b>c</b> `d` {table.END} $x"
    row = make(1) | {"name": name, "command": f"clef-jax speedrun '--name={name}'"}
    path = tmp_path / "README.md"
    path.write_text(f"{table.BEGIN}\n{table.END}\nrest\n")
    for _ in range(2):
        table.write(path, [row], "records.svg")
    text = path.read_text()
    assert text.count(table.END) == text.count("rest") == 1
    assert "<b>" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert "a \\| b &lt;b&gt;c&lt;/b&gt;" in line
    assert "- 1: <code>clef-jax speedrun" in text
    plot.write(tmp_path / "records.svg", [row])


def test_a_file_of_its_own_is_written_again_but_no_foreign_one(tmp_path):
    path = tmp_path / "records.md"
    table.write(path, [make(1)], "records.svg")
    table.write(path, [make(1), make(2)], "records.svg")
    assert "entry 2" in path.read_text()
    path.write_text("mine\n")
    with refuses(str(path), problem="foreign_file"):
        table.write(path, [make(1)], "records.svg")


def test_the_plot_is_the_same_for_the_same_rows_and_replaces_no_foreign_file(tmp_path):
    rows = [make(1), make(2, minutes=3.0, kind="trained"), make(3, kind="supervised")]
    path = tmp_path / "records.svg"
    plot.write(path, rows)
    first = path.read_bytes()
    plot.write(path, rows)
    assert path.read_bytes() == first
    path.write_text("<svg/>")
    with refuses(str(path), problem="foreign_file"):
        plot.write(path, rows)
    with refuses("--records", problem="wrong_suffix"):
        plot.path_of(path)


def test_the_page_of_benchmarks_shows_the_records():
    folder = pathlib.Path(__file__).parents[1] / "benchmarks"
    rows = record.read(folder / "records.jsonl")
    before, after = table.frame(folder / "README.md")
    shown = before + table.render(rows, "records.svg") + after
    assert (folder / "README.md").read_text(encoding="utf-8") == shown
    assert (folder / "records.svg").is_file()
