"""Digests by which a hub names files."""

import hashlib

from clef_jax.hub import digest


def test_files_have_the_names_that_git_and_sha256_give_them(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    assert digest.git(path) == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object
    assert digest.sha256(path) == hashlib.sha256(b"hello\n").hexdigest()
