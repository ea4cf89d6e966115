"""Small whole compressed files.

The name in the header of gzip is long, so that damages there leave the recording whole.
"""

import bz2
import gzip
import io
import lzma

from fuzz_seeds import Seed, csv_table, edf


def gzipped(data: bytes, name: str = "") -> bytes:
    """Returns data in gzip, with a name in its header."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename=name, mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(data)
    return buffer.getvalue()


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    table = csv_table.seeds()[0].files["x.csv"]
    signal = next(iter(edf.seeds()[0].files.values()))
    files = {
        "x.csv.gz": gzipped(table, "n" * 1500),
        "x.edf.gz": gzipped(signal, "n" * 1500),
        "x.csv.xz": lzma.compress(table),
        "x.edf.bz2": bz2.compress(signal),
    }
    return [Seed(name, {name: data}) for name, data in files.items()]
