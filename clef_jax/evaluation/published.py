"""Published results of other groups, for comparison where the protocol matches.

`published.csv` holds them, each with its protocol and source; add lines, never change one.
"""

import csv
import importlib.resources
from typing import NamedTuple


class Published(NamedTuple):
    """One published result."""

    task: str
    model: str
    score: str
    value: float
    leads: str
    """Name of the lead, or the number of leads."""
    protocol: str
    source: str

    def differs(self, lead: str, method: str) -> str:
        """Returns how the protocol differs from that of a result of ours; empty if it does not."""
        ours = {"linear": "frozen encoder", "knn": "frozen encoder", "finetune": "fine-tuned"}
        differences = []
        if self.leads != lead:
            many = f"{self.leads} leads" if self.leads.isdigit() else f"lead {self.leads}"
            differences.append(f"{many}, not lead {lead}")
        if self.protocol != ours.get(method, method):
            differences.append(self.protocol)
        return "; ".join(differences)


def for_task(task: str) -> list[Published]:
    """Returns the published results of a task."""
    text = importlib.resources.files("clef_jax.evaluation").joinpath("published.csv").read_text()
    return [
        Published(**{**row, "value": float(row["value"])})  # pyright: ignore[reportArgumentType]
        for row in csv.DictReader(text.splitlines())
        if row["task"] == task
    ]
