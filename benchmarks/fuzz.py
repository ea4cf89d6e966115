"""Reads damaged recordings of every format: each must give a recording or a refusal.

`python benchmarks/fuzz.py` writes small recordings of every format, damages each many times, and
reads them in processes with limited memory and time. It prints a table, and the damages that ended
in anything but a reading or a refusal; `--formats=edf --first=17 --mutations=1` repeats one.
"""

import collections
import dataclasses
import errno
import json
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import fuzz_seeds
import markdown_table
import numpy as np
import tyro

from clef_jax import formats
from clef_jax.finding import Defect

HINTS = (
    formats.Hints(),
    formats.Hints(sample_rate_hz=500, units="mV"),
    formats.Hints(sample_rate_hz=250, gain_per_mv=200, lead_names=("I", "II")),
)
NUMBERS = (b"0", b"-1", b"1", b"99999999", b"4294967295", b"1e9", b"1e400", b"nan", b"0,5", b"x")
BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b" ", b"\n", b",", b'"', b"<", b"#")
WORDS = (b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0", b"\0\0\1\0")
WINDOW_SAMPLES = 5000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Reads damaged recordings of every format."""

    formats: tuple[str, ...] = ()
    """Names of formats; by default all."""
    mutations: int = 1000
    """Number of damaged files of each format."""
    first: int = 0
    """Number of the first damage; it is a function of this number, the format and the seed."""
    seed: int = 0
    """Seed of the damages."""
    memory_gib: float = 2.0
    """Memory that a process may allocate, in GiB, above what it has after its start."""
    seconds: int = 10
    """Time limit of each file in seconds."""
    worker: bool = False
    """Read in this process and print a line of JSON for each file."""


class TimeLimitError(BaseException):
    """Raised in a reader that takes too long. Readers do not catch it."""


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns data with one to six damages, half of them near its beginning."""
    for _ in range(1 if rng.random() < 0.5 else rng.integers(2, 7)):
        size = len(data)
        if size < 2:
            return data
        near = rng.random() < 0.5
        at = int(rng.integers(min(size, 600) if near else size))
        length = int(rng.integers(1, 40 if rng.random() < 0.8 else size))
        kind = rng.integers(9)
        if kind == 0:
            data = data[:at] + bytes([data[at] ^ (1 << rng.integers(8))]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + BYTES[rng.integers(len(BYTES))] + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + WORDS[rng.integers(len(WORDS))] + data[at + 4 :]
        elif kind == 3:
            data = data[:at] + data[at + length :]
        elif kind == 4:
            data = data[:at] + data[at : at + length] + data[at:]
        elif kind == 5:
            data = data[:at] + rng.bytes(min(length, 64)) + data[at:]
        elif kind == 6 and rng.random() < 0.3:
            data = data[:at]
        elif kind >= 7:
            data = _replace_number(data, rng)
    return data


def _replace_number(data: bytes, rng: np.random.Generator) -> bytes:
    """Replaces a number in the text at the beginning, and keeps the width of fields if it can."""
    places = [match.span() for match in re.finditer(rb"[-+]?\d[\d.]*", data[:4000])]
    if not places:
        return data
    start, stop = places[rng.integers(len(places))]
    number = NUMBERS[rng.integers(len(NUMBERS))]
    if rng.random() < 0.7:
        number = number[: stop - start].ljust(stop - start)
    return data[:start] + number + data[stop:]


def damaged(
    name: str, number: int, seeds: list[fuzz_seeds.Seed], folder: pathlib.Path, seed: int
) -> pathlib.Path:
    """Writes a damaged recording to an empty folder and returns the file that is opened."""
    rng = np.random.default_rng([seed, number, *name.encode()])
    chosen = seeds[number % len(seeds)]
    names = sorted(chosen.files)
    victim = names[rng.integers(len(names))]
    for file, data in chosen.files.items():
        content = mutate(data, rng) if file == victim else data
        (folder / file).write_bytes(content)
    return folder / chosen.opened


def read(path: pathlib.Path, hints: formats.Hints) -> str:
    """Reads windows of all recordings of a file; returns `reading`, or `refusal` and its code.

    The format is called itself, because `formats.open` turns errors of readers into refusals.
    """
    num_read = 0
    try:
        if path.stat().st_size == 0:
            return "refusal: empty"
        file_format = formats.find_format(path)
        if file_format is None:
            return "refusal: unknown_format"
        for opened in file_format.open(path, hints):
            _check(opened)
            num_read += 1
            if num_read == 20:
                break
    except Defect as defect:
        return _refusal(defect)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise
        return "refusal: unreadable"  # as `formats.open` reports it
    return "reading"


def _refusal(defect: Defect) -> str:
    """Returns the outcome of a refusal; raises AssertionError if it has no code or sentence."""
    assert re.fullmatch(r"[a-z_]+", defect.problem), defect.problem
    assert defect.detail.endswith("."), defect.detail
    return f"refusal: {defect.problem}"


def _check(opened: formats.Opened) -> None:
    """Raises AssertionError if a recording is not what its interface promises."""
    assert opened.sample_rate_hz > 0
    assert np.isfinite(opened.sample_rate_hz)
    length, num_leads = opened.num_samples, len(opened.lead_names)
    if length < 1 or not num_leads:
        raise Defect("empty", "The file holds no samples.")
    for start in {0, length // 2, max(length - WINDOW_SAMPLES, 0)}:
        count = min(WINDOW_SAMPLES, length - start)
        window = opened.read(start, count)
        assert window.shape == (num_leads, count), window.shape
        assert window.dtype == np.float32
        assert not np.isinf(window).any()


def outcomes(config: Config, name: str) -> Iterator[tuple[int, str, float]]:
    """Yields number, outcome and seconds of each damaged file of a format."""

    def stop(*_: object) -> None:
        raise TimeLimitError

    signal.signal(signal.SIGALRM, stop)
    seeds = fuzz_seeds.write(name)
    for number in range(config.first, config.first + config.mutations):
        with tempfile.TemporaryDirectory() as folder:
            path = damaged(name, number, seeds, pathlib.Path(folder), config.seed)
            start = time.perf_counter()
            signal.alarm(config.seconds)
            try:
                outcome = read(path, HINTS[number % len(HINTS)])
            except TimeLimitError:
                outcome = "failure: time limit"
            except Exception as error:
                outcome = f"failure: {type(error).__name__}: {str(error)[:100]}"
            finally:
                signal.alarm(0)
            yield number, outcome, time.perf_counter() - start


def work(config: Config) -> None:
    """Prints the outcomes of one format, in a process with limited memory."""
    (name,) = config.formats
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + int(config.memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number, outcome, seconds in outcomes(config, name):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        line = json.dumps([number, outcome, round(seconds, 3), round(peak)])
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def supervise(config: Config, name: str) -> list[tuple[int, str, float, float]]:
    """Returns the outcomes of one format; a process that dies is a failure, and is replaced."""
    rows, first, end = [], config.first, config.first + config.mutations
    while first < end:
        command = [sys.executable, __file__, "--worker", f"--formats={name}", f"--first={first}"]
        command += [f"--mutations={end - first}", f"--seed={config.seed}"]
        command += [f"--memory-gib={config.memory_gib}", f"--seconds={config.seconds}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        rows += [tuple(json.loads(line)) for line in done.stdout.splitlines()]
        first = rows[-1][0] + 1 if done.stdout else first
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [""]
            rows.append((first, f"failure: exit code {done.returncode} {last[0]}", 0.0, 0.0))
            first += 1
    return rows


def main() -> None:
    config = tyro.cli(Config)
    if config.worker:
        work(config)
        return
    columns = ("format", "files", "readings", "refusals", "failures", "slowest, s")
    columns += ("peak memory, MiB",)
    sys.stdout.write(f"{markdown_table.head(columns)}\n")
    failures = []
    for name in config.formats or sorted(formats.load()):
        rows = supervise(config, name)
        kinds = collections.Counter(outcome.partition(":")[0] for _, outcome, _, _ in rows)
        counts = [kinds[kind] for kind in ("reading", "refusal", "failure")]
        slowest, peak = max(row[2] for row in rows), max(row[3] for row in rows)
        cells = (name, len(rows), *counts, f"{slowest:.2f}", f"{peak:.0f}")
        sys.stdout.write(f"{markdown_table.line(cells)}\n")
        sys.stdout.flush()
        failures += [(name, row[0], row[1]) for row in rows if row[1].startswith("failure")]
    for name, number, outcome in failures:
        sys.stdout.write(f"{name} {number}: {outcome}\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
