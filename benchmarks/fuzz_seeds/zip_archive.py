"""Small whole zip archives. They have long comments, so that damages there leave them whole."""

import io
import zipfile

from fuzz_seeds import Seed, csv_table, edf, wfdb


def zipped(
    files: dict[str, bytes], comment: bytes = b"", method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """Returns an archive of files by their paths."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.comment = comment
    return buffer.getvalue()


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    table = csv_table.seeds()[0].files["x.csv"]
    signal = next(iter(edf.seeds()[0].files.values()))
    record = {f"records/{name}": data for name, data in wfdb.seeds()[0].files.items()}
    files = {"a/ecg.csv": table, "readme.pdf": b"%PDF", **record, "b.edf": signal}
    comment = b"n" * 4000
    return [
        Seed("x.zip", {"x.zip": zipped(files, comment)}),
        Seed("x.zip", {"x.zip": zipped(files, comment, zipfile.ZIP_STORED)}),
    ]
