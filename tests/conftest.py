"""Every test runs on eight simulated CPU devices, with strict ranks and a compilation cache.

The tests run in one process, or in several with pytest-xdist: `pytest -n 2 --dist loadfile`. Files
with slow tests then come first, so that no process is left with one of them at the end, and what
takes long to make is made once for all processes.
"""

import collections
import fcntl
import gc
import os
import pathlib
import shutil

import compile_cache
import fault_costs
import jax
import processes
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
compile_cache.use()
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of PyTorch wait busily for each other


def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # xdist would start with files of many tests


def pytest_collection_modifyitems(config, items):
    """Puts files with slow tests first where several processes share the files."""
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        num_slow = collections.Counter(item.path for item in items if "slow" in item.keywords)
        items.sort(key=lambda item: -num_slow[item.path])


def pytest_collection_finish():
    """Lets Python look for cycles of garbage less often: it took a quarter of the tests' time.

    Tracing a program makes many small objects, and each search passes over all those that the
    imports have made.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="module")
def quick_compiler():
    """Lets XLA skip most of its optimisations, which halves the time of a compilation.

    For modules that compile much, compute little, and test our mathematics rather than the
    compiler's.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    processes.end_all()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory, request):
    """Makes folders that all processes of the tests read and none changes.

    `shared_folder(name, fill)` calls `fill` with the folder in the first process that asks for this
    name; the others wait for it.
    """
    top = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        top = top.parent  # of all processes of this run

    def make(name, fill) -> pathlib.Path:
        folder, done = top / f"shared_{name}", top / f"shared_{name}.done"
        with (top / f"shared_{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def raw_dir(shared_folder) -> pathlib.Path:
    """A simulated cohort in the layout of MIMIC-IV-ECG."""
    from clef_jax import simulate

    def fill(folder):
        simulate.main([f"--out={folder}", "--patients=40", "--defect-rate-multiplier=5"])

    return shared_folder("cohort", fill)


@pytest.fixture(scope="session")
def data_dir(raw_dir, shared_folder) -> pathlib.Path:
    """The cohort, prepared in both configurations."""
    from clef_jax import prepare

    def fill(folder):
        for name in ("mimic_iv_ecg", "mimic_iv_ecg/all_records"):
            prepare.main([f"--dataset={name}", f"--source={raw_dir}", f"--data-dir={folder}"])

    return shared_folder("prepared", fill)


@pytest.fixture(scope="session")
def mixed_dir(data_dir, shared_folder) -> pathlib.Path:
    """Two prepared data sets that differ in leads, rate and clinical data: `mimic_iv_ecg` with
    twelve leads at 500 Hz, and `any_rate` with lead I at 300 Hz and without a risk."""
    from any_rate_dataset import build_cohort

    def fill(folder):
        build_cohort(folder)
        (folder / "data" / "mimic_iv_ecg").symlink_to(data_dir / "mimic_iv_ecg")

    return shared_folder("mixed", fill) / "data"


@pytest.fixture(scope="session")
def undisturbed_cheap(data_dir, shared_folder) -> pathlib.Path:
    """The folder of a run with cheap steps that nothing disturbed."""
    from train_command import finish, start

    return shared_folder(
        "undisturbed_cheap", lambda folder: finish(start(data_dir, folder, cheap_seconds=0.0))
    )


@pytest.fixture(scope="session")
def fault_lines():
    """The lines of a table of faults, printed at the end: `pytest -m faults -s`."""
    lines = []
    yield lines
    if lines:
        print("\nfault | survived | examples lost | steps repeated | bytes lost | seconds to end")  # noqa: T201
        print("\n".join(lines))  # noqa: T201
        print(f"{len(lines)} faults injected, {len(lines)} survived")  # noqa: T201


@pytest.fixture
def fault_log(fault_lines, request):
    """Adds the fault of a test that has passed its assertions to the table of faults.

    The time is that from the last fault to the end of the program that it disturbed.
    """
    fault_costs.seconds_to_end.clear()

    def add(*, repeated="-", lost_bytes=0):
        assert lost_bytes == 0
        seconds = fault_costs.seconds_to_end[-1:]
        shown = f"{seconds[0]:.1f}" if seconds else "-"
        fault_lines.append(f"{request.node.name} | yes | 0 | {repeated} | {lost_bytes} | {shown}")

    return add


@pytest.fixture
def survived(fault_log, undisturbed_cheap):
    """Asserts that a run ended as the undisturbed one did, and logs what it cost."""
    from train_command import assert_same_bits, assert_same_params, num_repeated_steps

    def check(workdir, *, same_bits=True, lost_bytes=0) -> int:
        if same_bits:
            assert_same_bits(workdir, undisturbed_cheap)
        else:
            assert_same_params(workdir, undisturbed_cheap)
        repeated = num_repeated_steps(workdir)
        fault_log(repeated=repeated, lost_bytes=lost_bytes)
        return repeated

    return check
