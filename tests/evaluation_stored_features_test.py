"""Embeddings in a file take the place of an encoder, joined with the prepared data by record id."""

import json

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from culprits import refuses
from prepared import build

from clef_jax import embed, evaluate, mesh as mesh_lib
from clef_jax.building import catalog
from clef_jax.data import index as index_lib, metadata
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder, prepared
from clef_jax.evaluation import stored_features

pytestmark = pytest.mark.usefixtures("quick_compiler")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a small prepared data set."""
    folder = tmp_path_factory.mktemp("stored")
    tree = catalog.simulated("cinc2017").write(folder / "source", 40)
    build("cinc2017", tree.source, folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def index(data):
    return index_lib.load(index_lib.find(data, "cinc2017"), "train")


@pytest.fixture(scope="module")
def ids(index):
    return [record["record_id"].decode() for record in metadata.load(index)]


def write(path, ids, features, **columns):
    """Writes a file of embeddings, as another package may."""
    if path.suffix == ".npz":
        np.savez(path, record_id=np.array(ids), features=np.asarray(features), **columns)
    else:
        values = pa.array([list(row) for row in features])
        pq.write_table(pa.table({"recording": ids, "embedding": values, **columns}), path)
    return stored_features.load(f"embeddings:{path}")


def numbers(ids, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(len(ids), width)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_rows_are_joined_by_id_in_any_order(suffix, index, ids, tmp_path):
    features = numbers(ids)
    order = np.random.default_rng(1).permutation(len(ids))
    shuffled = [ids[number] for number in order]
    stored = write(tmp_path / f"x{suffix}", [*shuffled, "other"], [*features[order], np.zeros(3)])
    found = stored.embed_split(index, "I", tmp_path)
    np.testing.assert_array_equal(found.features[found.usable], features[found.usable])
    assert np.isnan(found.features[~found.usable]).all()


def test_numbers_are_ids_too(tmp_path):
    stored = write(tmp_path / "x.npz", np.arange(3), np.ones((3, 2)))
    assert stored.ids.tolist() == ["0", "1", "2"]


def test_the_lead_of_the_task_is_selected(index, ids, tmp_path):
    features = numbers(2 * ids)
    leads = ["V1"] * len(ids) + ["Lead I"] * len(ids)
    stored = write(tmp_path / "x.parquet", 2 * ids, features, lead=leads)
    found = stored.embed_split(index, "I", tmp_path)
    np.testing.assert_array_equal(found.features[found.usable], features[len(ids) :][found.usable])
    other = write(tmp_path / "y.parquet", ids, features[: len(ids)], lead=["V1"] * len(ids))
    with refuses("V1", tmp_path / "y.parquet", problem="missing_lead"):
        other.embed_split(index, "I", tmp_path)


def test_usable_windows_are_averaged(index, ids, tmp_path):
    features = numbers(3 * ids)
    start = np.repeat([0.0, 10.0, 20.0], len(ids))
    usable = np.repeat([True, True, False], len(ids))
    stored = write(tmp_path / "x.parquet", 3 * ids, features, start_seconds=start, usable=usable)
    found = stored.embed_split(index, "I", tmp_path)
    want = features.reshape(3, len(ids), 3)[:2].mean(axis=0)
    np.testing.assert_allclose(found.features[found.usable], want[found.usable], rtol=1e-6)


def test_missing_and_duplicate_recordings_are_named(index, ids, tmp_path):
    usable = [
        name for name, is_usable in zip(ids, index.usable_leads[:, 0], strict=True) if is_usable
    ]
    less = [name for name in ids if name != usable[2]]
    with refuses(usable[2], "train", problem="missing_recordings"):
        write(tmp_path / "x.npz", less, numbers(less)).embed_split(index, "I", tmp_path)
    more = [*ids, ids[1]]
    with refuses(ids[1], problem="duplicate_recordings"):
        write(tmp_path / "y.npz", more, numbers(more)).embed_split(index, "I", tmp_path)


def test_values_that_are_not_finite_are_named(ids, tmp_path):
    features = numbers(ids)
    features[3, 1] = np.inf
    with refuses(ids[3], problem="not_finite"):
        write(tmp_path / "x.parquet", ids, features)


@pytest.mark.parametrize(
    ("suffix", "features", "culprits"),
    [
        (".npz", np.zeros(3), ("[3]",)),
        (".npz", np.zeros((2, 4)), ("[2, 4]", "[3]")),
        (".npz", np.zeros((3, 0)), ("[3, 0]",)),
        (".npz", np.array([["a"]] * 3), ("<U1",)),
        (".parquet", [[1.0, 2.0], [1.0], [2.0, 3.0]], ("1", "2")),
        (".parquet", [[1.0, 2.0], None, [2.0, 3.0]], ("embedding",)),
    ],
)
def test_misshapen_embeddings_are_refused(suffix, features, culprits, tmp_path):
    path = tmp_path / f"x{suffix}"
    with refuses(path, *culprits, problem="misshapen"):
        if suffix == ".npz":
            write(path, ["a", "b", "c"], features)
        else:
            table = pa.table({"recording": ["a", "b", "c"], "embedding": features})
            pq.write_table(table, path)
            stored_features.load(f"embeddings:{path}")


def test_files_that_are_no_table_of_embeddings_are_refused(tmp_path):
    with refuses(tmp_path / "no.npz", problem="no_file"):
        stored_features.load(f"embeddings:{tmp_path / 'no.npz'}")
    path = tmp_path / "x.npz"
    np.savez(path, names=np.array(["a"]), features=np.zeros((1, 2)))
    with refuses("names", "record_id", problem="missing_column"):
        stored_features.load(f"embeddings:{path}")
    np.savez(path, id=np.array([{}]), features=np.zeros((1, 2)))
    with refuses(path, problem="unreadable"):
        stored_features.load(f"embeddings:{path}")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 cut")
    with refuses(tmp_path / "x.parquet", problem="unreadable"):
        stored_features.load(f"embeddings:{tmp_path / 'x.parquet'}")
    (tmp_path / "x.csv").write_text("a,b")
    with refuses(".npz", problem="wrong_suffix"):
        stored_features.load(f"embeddings:{tmp_path / 'x.csv'}")


def test_what_embed_writes_equals_the_encoder_in_every_table(data, index, tmp_path):
    """Embedded by the command, also in single windows, a model has the scores of itself."""
    encoder = encoder_lib.random("tiny", mesh_lib.make_mesh(jax.devices()[:1]), seed=0)
    model_folder.save(encoder, tmp_path / "model")
    folder = index_lib.find(data, "cinc2017")
    flags = [f"--model={tmp_path / 'model'}", f"--input={folder}"]
    for more in (["--out=mean.parquet"], ["--out=each.npz", "--windows=each"]):
        more[0] = more[0].replace("=", f"={tmp_path}/")
        with pytest.raises(SystemExit) as ended:
            embed.main([*flags, *more])
        assert ended.value.code == 0
    own = prepared.embed(encoder, index, "I", tmp_path / "cache")
    last = encoder_lib.layer_slice(encoder, "last")
    for name in ("mean.parquet", "each.npz"):
        stored = stored_features.load(f"embeddings:{tmp_path / name}")
        found = stored.embed_split(index, "I", tmp_path)
        np.testing.assert_array_equal(found.features, own.features[:, last])
    given = f"embeddings:{tmp_path / 'mean.parquet'}"
    evaluate.main(
        [
            *(f"--data-dir={data}", f"--out={tmp_path / 'out'}", "--tasks=cinc2017_af"),
            *("--model", str(tmp_path / "model"), "--compare", given, f"{given}+classical"),
            *("--baselines=none", "--num-resamples=100", "--cross-validate", "--probes=linear,knn"),
            *("--geometry", "--geometry-dataset=cinc2017"),
        ]
    )
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    scores = {
        (line["model"], line["method"], line["score"]): line["value"] for line in found["results"]
    }
    both = f"{given} + rhythm and spectrum"
    for method in ("linear", "knn"):
        assert scores["model", method, "auroc"] == scores[given, method, "auroc"]
        assert scores[both, method, "auroc"] is not None
    assert {line["second"] for line in found["comparisons"]} >= {given, both}
    assert {line["model"] for line in found["geometry"]} == {"model", given, both}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count(given) > 5
