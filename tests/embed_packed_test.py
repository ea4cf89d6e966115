"""The command embeds what is packed in archives, and names what is not readable in them."""

import gzip
import io
import json
import subprocess
import sys
import zipfile

import benchmark_modules
import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from clef_jax import embed, mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder
from clef_jax.simulation import simulated_ecg

benchmark_modules.load("fuzz_seeds")
fhir = benchmark_modules.load("fuzz_seeds.fhir")
pytestmark = pytest.mark.usefixtures("quick_compiler")
RATE = 250


def signal(seed):
    made = simulated_ecg.make(seed, ("I", "II"), sample_rate_hz=RATE, num_samples=12 * RATE)
    return made.astype(np.float32)


def table(seed):
    rows = "\n".join(f"{a:.4f},{b:.4f}" for a, b in signal(seed).T)
    return f"Sampling rate: {RATE} Hz\nI (mV),II (mV)\n{rows}\n".encode()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    model = encoder_lib.random("tiny", mesh_lib.make_mesh(jax.local_devices()), seed=0)
    return model_folder.save(model, tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "recordings"
    made.mkdir()
    (made / "a.csv").write_bytes(table(0))
    (made / "b.csv.gz").write_bytes(gzip.compress(table(0)))
    samples = np.round(signal(0)[0] * 1000).astype("<i2")
    with zipfile.ZipFile(made / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/a.csv", table(0))
        archive.writestr("in/labels.csv", "id,label\n1,2\n2,3\n")
        archive.writestr("r/x.hea", f"x 1 {RATE} {12 * RATE}\nx.dat 16 1000/mV 16 0 0 0 0 I\n")
        archive.writestr("r/x.dat", samples.tobytes())
    microvolts = np.round(signal(0)[0] * 1000).astype(int)
    document = fhir.observation(fhir.component("I", microvolts, period=4))
    (made / "d.json").write_text(json.dumps(document))
    (made / "labels.csv.gz").write_bytes(gzip.compress(b"id,label\n1,2\n2,3\n"))
    return made


def run(checkpoint, folder, out):
    with pytest.raises(SystemExit) as stopped:
        embed.main([f"--model={checkpoint}", f"--input={folder}", f"--out={out}", "--lead=I"])
    (quality,) = out.parent.glob(f"{out.stem}*.quality.jsonl")
    findings = [json.loads(line) for line in quality.read_text().splitlines()]
    return stopped.value.code or 0, findings


def test_packed_recordings_are_embedded_under_their_names(checkpoint, folder, tmp_path):
    out = tmp_path / "out.parquet"
    code, findings = run(checkpoint, folder, out)
    assert code == 0
    assert not [item for item in findings if item["action"] == "quarantined"]
    rows = pq.read_table(out).to_pylist()
    names = ["a.csv", "b.csv.gz", "c.zip#in/a.csv", "c.zip#r/x.hea", "d.json"]
    assert [row["recording"] for row in rows] == names
    for row in rows[1:]:  # texts and integers are rounded
        np.testing.assert_allclose(row["embedding"], rows[0]["embedding"], atol=0.02)


def test_members_that_cannot_be_read_are_reported(checkpoint, folder, tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.csv", table(1))
    with zipfile.ZipFile(folder / "e.zip", "w") as archive:
        archive.writestr("bad.edf", b"0       " + b"x" * 30)
        archive.writestr("good.csv", table(1))
        archive.writestr("nested.zip", inner.getvalue())
    (folder / "f.csv.gz").write_bytes(gzip.compress(table(1))[:-300])
    out = tmp_path / "out.parquet"
    code, findings = run(checkpoint, folder, out)
    assert code == 3
    quarantined = {f["record_id"]: f for f in findings if f["action"] == "quarantined"}
    assert set(quarantined) == {"e.zip", "f.csv.gz"}
    assert "2 of 3" in quarantined["e.zip"]["detail"]
    assert quarantined["f.csv.gz"]["problem"] == "unreadable"
    rows = pq.read_table(out).to_pylist()
    assert "e.zip#good.csv" in [row["recording"] for row in rows]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited with Linux's means")
def test_bombs_take_little_memory(tmp_path):
    zeros = gzip.compress(bytes(100 << 20), 9)
    (tmp_path / "a.edf.gz").write_bytes(zeros)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.edf", bytes(100 << 20), compresslevel=9)
    code = (
        "import pathlib, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "from clef_jax import formats\n"
        "from clef_jax.finding import Defect\n"
        "for path in formats.find(pathlib.Path(sys.argv[1])):\n"
        "    try:\n"
        "        print(len(list(formats.open(path))))\n"
        "    except Defect as defect:\n"
        "        print(defect.problem)\n"
    )

    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["too_large", "too_large"]
