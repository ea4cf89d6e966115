"""The notebook docs/answers.ipynb does and shows what it says: from recordings to an answer."""

import importlib.util
import json

import docs_test as docs
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = docs.ROOT / "docs" / "answers.ipynb"
TAG, PATTERN = "needs-onnx", r"\bonnx|to-onnx|\bsession\."

CHECK = """
import json, socket
print(json.dumps({
    "guarded": socket.socket.connect.__module__ == "sitecustomize",
    "probability": float(answer.probabilities[0]), "rare": float(rare.probabilities[0]),
    "same_decision": bool(rare.decisions[0] == answer.decisions[0]),
    "unknown": [bool(unknown.usable), bool(np.isnan(unknown.probabilities).all())],
    "limits": len(answer.limits), "kept": int(later.sum()),
}))
"""
CHECK_ONNX = """
print(json.dumps({
    "difference": float(difference), "flipped": int(flipped), "usable": int(usable.sum()),
}))
"""


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_notebook_is_valid_and_was_run_from_top_to_bottom():
    notebook = read()
    nbformat.validate(notebook)
    cells = docs.code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {(output.output_type, output.get("name")) for output in outputs} == {
        ("stream", "stdout")
    }
    assert max(len(docs.text_of(cell).splitlines()) for cell in cells) <= docs.MOST_LINES


def test_its_links_lead_to_files_and_cells_name_what_they_need():
    notebook = read()
    words = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = docs.re.findall(r"\]\(([^)\s]+)\)", words)
    assert found
    for link in found:
        assert (NOTEBOOK.parent / link).exists(), link
    needing = [docs.re.search(PATTERN, cell.source) for cell in docs.code_cells(notebook)]
    tagged = [TAG in docs.tags(cell) for cell in docs.code_cells(notebook)]
    assert any(tagged)
    assert [bool(match) for match in needing] == tagged


def test_stored_outputs_tell_nothing_of_the_machine():
    plain = json.dumps([cell.outputs for cell in docs.code_cells(read())])
    assert not docs.re.findall(r"(?<![\w.<])/(?:[\w.-]+/)+[\w.-]*", plain), "an absolute path"
    user, host = docs.getpass.getuser(), docs.socket.gethostname()
    assert not docs.re.search(rf"\b({docs.re.escape(user)}|{docs.re.escape(host)})\b", plain)


@pytest.fixture(scope="module")
def rerun(tmp_path_factory):
    """The notebook run anew, without cells whose package is absent; and what it found."""
    top, home = tmp_path_factory.mktemp("cwd"), tmp_path_factory.mktemp("home")
    (home / "sitecustomize.py").write_text(docs.NO_NETWORK)
    has_onnx = importlib.util.find_spec("onnxruntime") is not None
    notebook = read()
    notebook.cells = [cell for cell in notebook.cells if has_onnx or TAG not in docs.tags(cell)]
    count = len(notebook.cells)
    checks = [CHECK, CHECK_ONNX] if has_onnx else [CHECK]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in checks]
    resources = {"metadata": {"path": str(top)}}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("PYTHONPATH", str(home))
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("OMP_NUM_THREADS", "1")
        client.execute()
    found = [json.loads(docs.text_of(cell)) for cell in notebook.cells[count:]]
    return {
        "found": found[0],
        "onnx": found[1] if has_onnx else None,
        "left": [path.name for path in top.iterdir()],
        "reached": (home / "reached").exists(),
        "cells": docs.code_cells(notebook)[: -len(checks)],
    }


@pytest.mark.slow
def test_notebook_runs_without_a_complaint_and_shows_what_is_stored(rerun):
    stored = {cell.id: cell for cell in docs.code_cells(read())}
    for cell in rerun["cells"]:
        assert {one.get("name", "stdout") for one in cell.outputs} <= {"stdout"}
        stored_text = docs.form(docs.text_of(stored[cell.id]))
        assert docs.form(docs.text_of(cell)) == stored_text, cell.source
    assert rerun["found"]["guarded"]
    assert not rerun["reached"]
    assert rerun["left"] == []


@pytest.mark.slow
def test_notebook_answers_as_it_says(rerun):
    found = rerun["found"]
    assert 0 < found["rare"] < found["probability"] < 1
    assert found["same_decision"]
    assert found["unknown"] == [False, True]
    assert found["limits"] >= 3


@pytest.mark.slow
def test_onnx_file_of_the_notebook_agrees(rerun):
    if rerun["onnx"] is None:
        pytest.skip("the extra `onnx` is not installed")
    assert rerun["onnx"]["difference"] < 1e-4
    assert rerun["onnx"]["flipped"] == 0
    assert rerun["onnx"]["usable"] > rerun["found"]["kept"] // 2
