"""What the documentation shows can be run: every command parses, and the blocks of code run.

Sizes are reduced. A block that is not run has a reason here, or on its page in a comment before it.
"""

import contextlib
import os
import re
import shutil
import subprocess

import docs_blocks
import jax
import numpy as np
import pytest
from docs_blocks import PAGES, ROOT, Block

import clef_jax
from clef_jax import command_line, mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder

pytestmark = pytest.mark.usefixtures("quick_compiler")

SMALL = {
    "simulate": ["--patients=32"],
    "fit": ["--num-resamples=100"],
    "evaluate": ["--num-resamples=100", "--random-encoders=1"],
}
"""By command, settings that a test adds so that it takes seconds."""
NOT_RUN = {
    r"^(make|pip|wget|\.venv/)": "installs, downloads, or runs all tests",
    r"physionet\.org/|_FOLDER\b|NAME\b": "needs published data",
    r"clef-jax plan": "needs the compiler of an accelerator, or a quarter of a minute for a CPU's",
    r"--coordinator-address": "needs several hosts",
    r"clef_small\.ckpt|st_mem_vit|FILE|\btheirs\b|=MODEL\b|model\.safe": "needs others' files",
    r"--check$": "tests/building_check_test.py counts and draws prepared data",
    r"clef-jax demo": "tests/demo_test.py runs it; its results are simulated by `world`",
    r"clef-jax simulate .*--out=mine": "is the cohort of `world`",
    r"clef-jax convert": "tests/convert_main_test.py runs the exports",
    r"clef-jax ablate": "tests/ablate_test.py trains a grid",
    r"clef-jax speedrun": "tests/speedrun_test.py makes rows",
    r"clef-jax explain|\.explain\(": "tests/explain_test.py explains answers",
    r"clef-jax push": "needs an account",
    r"clef-jax train": "tests/train_test.py and others train with such settings",
    r"clef-jax fit --model=models/small": "is in a tutorial, with the same result in `world`",
    r"clef-jax evaluate --model runs/a": "tests/evaluate_test.py runs these probes, for a minute",
    r"cinc2017": "is in a tutorial, on another data set",
    r"clef-jax (simulate|prepare) .*\braw\b": "makes what `world` has",
    r"runs/(medium|labels)": "needs real data",
    r"create_encoder\(": "compiles each layer alone; other tests call these functions",
    r"^python benchmarks/": "tests/bench_test.py runs benchmarks",
}
"""By pattern of a command or of a block of Python, why it is not run here."""
SHELL_BLOCKS = [block for page in PAGES for block in docs_blocks.read(page) if block.is_shell]
PYTHON_BLOCKS = [
    block for page in PAGES for block in docs_blocks.read(page) if block.language == "python"
]


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=lambda block: block.name)
def test_commands_parse_with_their_values(block):
    for words in block.lines():
        if found := docs_blocks.command(words):
            docs_blocks.parse(*found)


def reason(block: Block, text: str) -> str | None:
    """Returns why a command, or a block of Python, is not run here; None if it is."""
    known = (why for pattern, why in NOT_RUN.items() if re.search(pattern, text))
    return block.reason or next(known, None)


@pytest.fixture(scope="module")
def world(tmp_path_factory, raw_dir):
    """The folder in which a reader runs the blocks, one page after the other.

    It holds what the demo makes: a cohort, and an encoder, here an untrained one.
    """
    folder = tmp_path_factory.mktemp("reader")
    (folder / "demo").mkdir()
    for link in ("mine", "demo/raw"):
        (folder / link).symlink_to(raw_dir)
    (folder / "launch").symlink_to(ROOT / "launch")
    untrained = encoder_lib.random("tiny", mesh_lib.make_mesh(jax.local_devices()), seed=0)
    model_folder.save(untrained, folder / "demo" / "run")
    cache = jax.config.jax_compilation_cache_dir
    with contextlib.chdir(folder):
        yield folder
    jax.config.update("jax_compilation_cache_dir", cache)


@pytest.fixture(scope="module")
def ran() -> set[str]:
    """Commands that were run on pages before."""
    return set()


def run_shell(block: Block, ran: set[str]) -> None:
    """Runs the commands of a block that can be run and that no page before has shown."""
    for words in block.lines():
        line = " ".join(words)
        if reason(block, line) or line in ran:
            continue
        ran.add(line)
        found = docs_blocks.command(words)
        if found is None:
            ended = subprocess.run(
                ["bash", "-c", line], capture_output=True, text=True, check=False
            )
            assert ended.returncode == 0, ended.stderr
            continue
        assert exit_code(*found) in (None, 0, 3), words  # 3: recordings were skipped


def exit_code(name: str, arguments: list[str]) -> str | int | None:
    """Runs a command with the settings of SMALL, and returns its exit code."""
    try:
        command_line.load(name).main([*arguments, *SMALL.get(name, [])])
    except SystemExit as ended:
        return ended.code
    return 0


def run_python(block: Block, names: dict) -> None:
    if not reason(block, block.text):
        exec(compile(block.text, block.name, "exec"), names)


@pytest.mark.parametrize("page", docs_blocks.TUTORIALS, ids=lambda page: page.stem)
@pytest.mark.filterwarnings("ignore:.*unusable:UserWarning")
def test_tutorials_run_from_top_to_bottom(page, world, ran, capsys):
    for block in docs_blocks.read(page):
        if block.is_shell:
            run_shell(block, ran)
        elif block.language == "python":
            run_python(block, {})


@pytest.fixture(scope="module")
def reader(world):
    """Returns what a reader has at hand: the names in blocks of Python, and folders of commands."""
    model = clef_jax.load("demo/run")
    model.save("models/small")
    shutil.copytree("models/abnormal", "models/af")
    os.symlink("mine/files", "recordings")
    os.makedirs("runs", exist_ok=True)
    shutil.copytree("demo/run", "runs/small")
    rng = np.random.default_rng(0)
    rhythm = np.sin(np.arange(2500) / 40)
    signals_mv = [rhythm ** (1 + 20 * (n % 2)) + rng.normal(0, 0.1, 2500) for n in range(24)]
    np.save("one.npy", np.tile(signals_mv[0], 2).astype(np.float32))
    return {
        "model": model,
        "signal_mv": signals_mv[0],
        "sample_rate_hz": 250,
        "strap": [(signals_mv[0][:1300], None), (signals_mv[0][1300:], None)],
        "packets": [signals_mv[0][:1300], signals_mv[0][1300:]],
        "signals_mv": signals_mv,
        "labels": {"AF": [n % 2 for n in range(24)]},
        "patients": [f"p{n}" for n in range(24)],
        "path": "one.npy",
    }


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page not in docs_blocks.TUTORIALS],
    ids=lambda page: page.stem,
)
def test_blocks_of_other_pages_run(page, reader, ran, capsys):
    names = dict(reader)
    for block in docs_blocks.read(page):
        if block.is_shell:
            run_shell(block, ran)
        elif block.language == "python":
            if os.path.isdir("models/af") and page.stem == "answers":
                names["model"] = clef_jax.load("models/af")
            run_python(block, names)
