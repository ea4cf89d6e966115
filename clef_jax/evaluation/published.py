"""Published results of other groups, each with its protocol.

They are in `published.csv`, with their sources. A line has one of the protocols of `METHODS`, is
`from scratch` if the network was trained on the labels alone, or has no protocol if its source
states none.
"""

import csv
import importlib.resources
from typing import NamedTuple

METHODS = {
    "linear": "linear",
    "attention": "attention",
    "fine-tuned": "finetune",
    "logistic": "logistic",
    "logistic best stage": "logistic best stage",
}
"""Our probe of the same kind, by the protocol of a published result."""


class Published(NamedTuple):
    """One published result."""

    task: str
    model: str
    score: str
    value: float
    leads: str
    """Name of the lead, or the number of leads; empty if the source does not state it."""
    protocol: str
    """How the encoder was evaluated; empty if the source does not state it."""
    source: str

    @property
    def method(self) -> str:
        """Our probe of the same kind; empty if there is none."""
        return METHODS.get(self.protocol, "")

    def differs(self, lead: str, method: str) -> str:
        """Returns how the protocol differs from one with a lead and a method; empty if equal."""
        differences = []
        if not self.leads:
            differences.append("lead not stated")
        elif self.leads != lead:
            used = f"{self.leads} leads" if self.leads.isdigit() else f"lead {self.leads}"
            differences.append(f"{used}, not lead {lead}")
        if not self.protocol:
            differences.append("protocol not stated")
        elif self.method != method:
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
