"""Writes files with an encoder of benchmarks/fuzz_seeds/ and reads them with its reader."""

import pytest

from clef_jax import formats
from clef_jax.finding import Defect


class Files:
    """Files of one format; `encode` returns the bytes of a document."""

    def __init__(self, encode):
        self._encode = encode

    def write(self, folder, document, **how):
        """Writes a document and returns its path."""
        path = folder / "x.xml"
        path.write_bytes(self._encode(document, **how))
        return path

    def read(self, folder, document, **how):
        """Returns the only recording of a document."""
        (recording,) = formats.open(self.write(folder, document, **how))
        return recording

    def refusal(self, folder, document):
        """Returns the problem code with which a document is refused."""
        with pytest.raises(Defect) as caught:
            list(formats.open(self.write(folder, document)))
        assert caught.value.detail.endswith(".")
        return caught.value.problem


def problems(recording):
    """Returns the problem codes of a recording's notes."""
    return [note.problem for note in recording.notes]
