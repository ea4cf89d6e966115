"""The documentation: its links lead somewhere, and its notebook does and shows what it says."""

import base64
import getpass
import importlib.util
import json
import pathlib
import re
import socket

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), NOTEBOOK]
NEEDS = {
    "needs-torch": ("torch", r"\btorch\b|to-torch|pytorch_encoder"),
    "needs-onnx": ("onnxruntime", r"\bonnx|to-onnx"),
}
"""By tag, the package that a cell needs, and what in a cell needs it."""
LARGEST_FIGURE_BYTES, MOST_LINES = 60_000, 20

NO_NETWORK = """
import pathlib, socket
inside = socket.socket.connect
def connect(self, address):
    if self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost"):
        return inside(self, address)
    pathlib.Path(__file__).with_name("reached").touch()
    raise OSError("there is no network")
socket.socket.connect = connect
"""
"""A module that Python runs as it starts, in the notebook and in its commands."""

CHECK = """
import ast, json, socket
parts = folds.split(embeddings, fibrillation, patients)
twice = [len(set(patients[learned]) & set(patients[judged])) for learned, judged in parts]
first = table.recording.str.removesuffix(".hea").eq(studies.path[0].removeprefix("files/"))
print(json.dumps({
    "guarded": socket.socket.connect.__module__ == "sitecustomize", "loss": metrics.loss.tolist(),
    "shapes": [list(one.shape) for one in (embedding, each_lead, early, every_window)],
    "lead_by_name": float(np.abs(lead_ii - each_lead[record.sig_name.index("II")]).max()),
    "lead_by_array": float(np.abs(lead_ii - embedding).max()),
    "movement": {name: float(value) for name, value in movement.items()},
    "usable": found.quality.usable.tolist(),
    "mean": float(np.abs(spoilt - found.features[found.quality.usable].mean(axis=0)).max()),
    "row": float(np.abs(embeddings[first.to_numpy()] - embedding).max()),
    "num_rows": [len(table), len(studies)], "patients_twice": twice, "auroc": float(auroc),
    "same_fingerprint": again.fingerprint == model.fingerprint,
    "same_embedding": bool(np.array_equal(again.embed(lead_mv, rate_hz), embedding)),
    "stablehlo_difference": float(stablehlo_difference),
}))
"""
CHECK_TORCH = """
tree = ast.walk(ast.parse(open("for_torch/pytorch_encoder.py").read()))
imported = {name.name for node in tree if isinstance(node, ast.Import) for name in node.names}
print(json.dumps({
    "imported": sorted(imported), "difference": float(torch_difference),
    "losses": [float(loss) for loss in losses], "auroc": float(tuned_auroc),
}))
"""
CHECK_ONNX = """
print(json.dumps({"difference": float(onnx_difference), "shape": list(in_onnx.shape)}))
"""


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def text_of(cell):
    """What a cell printed and showed, without figures."""
    found = [one.get("text") or one.get("data", {}).get("text/plain", "") for one in cell.outputs]
    return "".join(found)


def form(text):
    """Text with every number replaced, so that two runs can be compared."""
    return re.sub(r"\s+", " ", re.sub(r"\d[\d,.]*(e[-+]\d+)?", "#", text))


def headings(page):
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def links(page):
    cells = read().cells if page == NOTEBOOK else []
    words = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.findall(r"\]\(([^)\s]+)\)", words or page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page):
    found = [link for link in links(page) if "://" not in link]
    assert found, "a page without a link within the project"
    for link in found:
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not heading or heading in headings(target), link


def test_index_names_everything_in_docs():
    docs = ROOT / "docs"
    pages = {path for path in docs.rglob("*.*") if path.suffix in (".md", ".ipynb")}
    there = {path.relative_to(docs).as_posix() for path in pages}
    assert there - {"README.md"} <= set(links(docs / "README.md"))


def test_notebook_is_valid_and_was_run_from_top_to_bottom():
    notebook = read()
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds <= {"stream", "display_data", "execute_result"}
    assert {output.get("name", "stdout") for cell in cells for output in cell.outputs} == {"stdout"}


@pytest.mark.parametrize("number", range(len(code_cells(read()))))
def test_code_cells_are_python(number):
    compile(code_cells(read())[number].source, f"cell {number}", "exec")


def test_cells_that_need_an_optional_package_say_so():
    cells = code_cells(read())
    for tag, (_, pattern) in NEEDS.items():
        needing = [bool(re.search(pattern, cell.source)) for cell in cells]
        assert any(needing)
        assert needing == [tag in tags(cell) for cell in cells], tag


def test_stored_outputs_tell_nothing_of_the_machine():
    text = json.dumps([cell.outputs for cell in code_cells(read())])
    plain = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.findall(r"(?<![\w.<])/(?:[\w.-]+/)+[\w.-]*", plain), "an absolute path"
    assert not re.findall(r"ipykernel|\b[A-Z]:\\\\|\bfile://", plain)
    user, host = getpass.getuser(), socket.gethostname()
    assert not re.search(rf"\b({re.escape(user)}|{re.escape(host)})\b", plain)


def test_stored_outputs_are_short():
    cells = code_cells(read())
    assert max(len(text_of(cell).splitlines()) for cell in cells) <= MOST_LINES
    (figure,) = [one for cell in cells for one in cell.outputs if "data" in one]
    assert len(base64.b64decode(figure.data["image/png"])) <= LARGEST_FIGURE_BYTES


@pytest.fixture(scope="module")
def rerun(tmp_path_factory):
    """The notebook run anew, without cells whose package is absent; and what it found."""
    top, home = tmp_path_factory.mktemp("cwd"), tmp_path_factory.mktemp("home")
    (home / "sitecustomize.py").write_text(NO_NETWORK)
    absent = {tag for tag, (name, _) in NEEDS.items() if importlib.util.find_spec(name) is None}
    notebook = read()
    notebook.cells = [cell for cell in notebook.cells if not tags(cell) & absent]
    checks = {"": CHECK, "needs-torch": CHECK_TORCH, "needs-onnx": CHECK_ONNX}
    checks = {tag: source for tag, source in checks.items() if tag not in absent}
    num_cells = len(notebook.cells)
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in checks.values()]
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(top)}}
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("PYTHONPATH", str(home))
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("OMP_NUM_THREADS", "1")  # threads of PyTorch wait busily for each other
        client.execute()
    told = [text_of(cell) for cell in notebook.cells[num_cells:]]
    found = {tag: json.loads(text) for tag, text in zip(checks, told, strict=True)}
    found["left"] = [path.name for path in top.iterdir()]
    found["reached"] = (home / "reached").exists()
    found["cells"] = code_cells(notebook)[: -len(checks)]
    return found


@pytest.mark.slow
def test_notebook_runs_without_a_complaint_and_shows_what_is_stored(rerun):
    stored = {cell.id: cell for cell in code_cells(read())}
    for cell in rerun["cells"]:
        assert {one.get("name", "stdout") for one in cell.outputs} <= {"stdout"}, text_of(cell)
        assert form(text_of(cell)) == form(text_of(stored[cell.id])), cell.source


@pytest.mark.slow
def test_notebook_needs_no_network_and_leaves_nothing(rerun):
    assert rerun[""]["guarded"]
    assert not rerun["reached"]
    assert rerun["left"] == []


@pytest.mark.slow
def test_notebook_trains_a_model_and_embeds_as_it_says(rerun):
    found = rerun[""]
    assert found["loss"][-1] < 0.9 * found["loss"][0]
    assert found["shapes"] == [[16], [12, 16], [8], [11, 16]]
    assert max(found["lead_by_name"], found["lead_by_array"]) < 1e-6
    moved = found["movement"]
    assert max(moved[name] for name in ("100 Hz", "250 Hz", "360 Hz")) < 0.2
    assert max(moved[name] for name in ("microvolts", "steps of 5 microvolts")) < 0.02
    assert 0 < moved["a gap of 0.5 s"] < 1
    assert found["usable"] == [True, True, False, True, False, True]
    assert found["mean"] < 1e-6


@pytest.mark.slow
def test_table_of_the_notebook_holds_every_recording_and_a_label_can_be_learned(rerun):
    found = rerun[""]
    assert found["num_rows"] == [611, 611]
    assert found["row"] < 1e-5
    assert found["patients_twice"] == [0] * 5
    assert 0.75 < found["auroc"] <= 1


@pytest.mark.slow
def test_saved_model_of_the_notebook_is_the_same_everywhere(rerun):
    assert rerun[""]["same_fingerprint"]
    assert rerun[""]["same_embedding"]
    assert rerun[""]["stablehlo_difference"] < 1e-5


@pytest.mark.slow
def test_notebook_fine_tunes_in_pytorch_without_this_package(rerun):
    pytest.importorskip("torch", reason="the extra `torch` is not installed")
    found = rerun["needs-torch"]
    assert "clef_jax" not in found["imported"]
    assert found["difference"] < 1e-5
    assert found["losses"][-1] < 0.9 * found["losses"][0]
    assert 0.7 < found["auroc"] <= 1


@pytest.mark.slow
def test_onnx_file_of_the_notebook_computes_the_same(rerun):
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    assert rerun["needs-onnx"]["shape"] == [1, 16]
    assert rerun["needs-onnx"]["difference"] < 1e-5
