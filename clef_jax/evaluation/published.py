"""Numbers that others have published for a task, to stand beside ours where the protocol matches.

`published.csv` holds them, each with its protocol and source; add lines, never change one.
"""

import csv
import importlib.resources
from typing import NamedTuple


class Published(NamedTuple):
    """One number of somebody else."""

    task: str
    model: str
    score: str
    value: float
    leads: str
    """The lead's name, or how many there were."""
    protocol: str
    source: str

    def differs(self, lead: str, method: str) -> str:
        """What must be told before this number is compared with ours; nothing if all is alike."""
        ours = {"linear": "frozen encoder", "knn": "frozen encoder", "finetune": "fine-tuned"}
        found = []
        if self.leads != lead:
            many = f"{self.leads} leads" if self.leads.isdigit() else f"lead {self.leads}"
            found.append(f"{many}, not lead {lead}")
        if self.protocol != ours.get(method, method):
            found.append(self.protocol)
        return "; ".join(found)


def for_task(task: str) -> list[Published]:
    """What is published on a task."""
    text = importlib.resources.files("clef_jax.evaluation").joinpath("published.csv").read_text()
    return [
        Published(**{**row, "value": float(row["value"])})  # pyright: ignore[reportArgumentType]
        for row in csv.DictReader(text.splitlines())
        if row["task"] == task
    ]
