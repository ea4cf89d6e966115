"""What can be wrong with a recording, and how it is reported."""

import dataclasses
import json
from typing import Literal

Action = Literal["kept", "lead_unusable", "quarantined"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of a quality report."""

    record_id: str
    problem: str
    """A short stable code, for example `nan_run`."""
    lead: str | None
    detail: str
    """One sentence."""
    action: Action

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


class Findings(list[Finding]):
    """Collects what is wrong with a source's tables while they are read."""

    def keep(self, record_id: str, problem: str, detail: str) -> None:
        """Adds a finding about a recording that is used all the same."""
        self.append(Finding(record_id, problem, None, detail, "kept"))

    def quarantine(self, record_id: str, problem: str, detail: str) -> None:
        """Adds a finding about a recording that is excluded."""
        self.append(Finding(record_id, problem, None, detail, "quarantined"))


class Defect(Exception):
    """Means that a recording cannot be used: `problem` is a short stable code, `detail` one
    sentence, and `lead` the lead that is at fault, if it is one."""

    def __init__(self, problem: str, detail: str, lead: str | None = None):
        super().__init__(problem, detail, lead)
        self.problem = problem
        self.detail = detail
        self.lead = lead

    def finding(self, record_id: str) -> Finding:
        """Returns the finding that reports the recording as quarantined."""
        return Finding(record_id, self.problem, self.lead, self.detail, "quarantined")
