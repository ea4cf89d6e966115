"""Findings: reports of what is wrong with a recording."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from typing import Literal

from clef_jax.errors import UserError

Action = Literal["kept", "lead_unusable", "quarantined"]

_MOST_DETAIL = 300
"""Most characters of an error's message that are quoted in a finding."""


def encodable(text: str) -> str:
    """Returns a text that UTF-8 can encode, with escapes instead of bytes that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One problem of a recording: a line of a quality report."""

    record_id: str
    problem: str
    """A short stable code, for example `nan_run`."""
    lead: str | None
    """The lead that has the problem; None if it concerns the whole recording."""
    detail: str
    """One sentence."""
    action: Action
    """`kept` if the recording is used, `lead_unusable` if it is used without this lead,
    `quarantined` if it is excluded."""

    def to_json(self) -> str:
        """Returns the finding as one line of JSON that UTF-8 can encode."""
        values = {
            name: encodable(value) if isinstance(value, str) else value
            for name, value in dataclasses.asdict(self).items()
        }
        return json.dumps(values, ensure_ascii=False)


class Findings(list[Finding]):
    """Findings that are collected while a source's tables are read."""

    def keep(self, record_id: str, problem: str, detail: str) -> None:
        """Adds a finding about a recording that is used nevertheless."""
        self.append(Finding(record_id, problem, None, detail, "kept"))

    def quarantine(self, record_id: str, problem: str, detail: str) -> None:
        """Adds a finding about a recording that is excluded."""
        self.append(Finding(record_id, problem, None, detail, "quarantined"))


class Defect(Exception):
    """Raised for a recording that cannot be used. `problem` is a short stable code, `detail` one
    sentence, and `lead` the unusable lead, or None if the whole recording is."""

    def __init__(self, problem: str, detail: str, lead: str | None = None):
        super().__init__(problem, detail, lead)
        self.problem = problem
        self.detail = detail
        self.lead = lead

    def finding(self, record_id: str) -> Finding:
        """Returns the finding that reports the recording as quarantined."""
        return Finding(record_id, self.problem, self.lead, self.detail, "quarantined")


@contextlib.contextmanager
def catch_failures(name: str) -> Iterator[None]:
    """Turns any error of the block into a `Defect`, so that one bad file does not end a run.

    Args:
        name: name of the file or recording in the message.

    Raises:
        Defect: the block raised any other error than a `UserError`, which is left as it is.
    """
    try:
        yield
    except (Defect, UserError):
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Defect("unreadable", f"{name} cannot be read: {reason}.") from None
    except MemoryError:
        detail = f"{name} needs more memory than this machine has left; it was not read."
        raise Defect("too_large", detail) from None
    except Exception as error:  # a reader's own mistake, too, concerns this file alone
        reason = f"{type(error).__name__}: {error}".split("\n")[0][:_MOST_DETAIL].rstrip(":. ")
        detail = f"{name} cannot be read, because its reader failed: {reason}."
        raise Defect("unreadable", detail) from error
