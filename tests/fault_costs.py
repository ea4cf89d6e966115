"""What a fault cost: bytes of the user's that were lost, and the time until the program ended."""

import pathlib

seconds_to_end: list[float] = []
"""For each program that a test disturbed: the time from the fault, or from when the test began to
wait for its consequence, to the end of the program. For a write in the process of the tests: the
time from its start to its error."""


def user_bytes(folder) -> dict[str, bytes]:
    """The content of the files in a folder, by their paths in it."""
    folder = pathlib.Path(folder)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def lost_bytes(before: dict[str, bytes], folder) -> int:
    """The bytes of files that are no longer in a folder; what was appended to them is no loss."""
    after = user_bytes(folder)
    return sum(
        len(content)
        for path, content in before.items()
        if not after.get(path, b"").startswith(content)
    )
