"""Small whole logs of ECGs of Fitbit, written from the description of its interface."""

import json
from collections.abc import Iterable
from typing import Any

from fuzz_seeds import ADC, Seed


def reading(samples: Iterable[int], **more: Any) -> dict[str, Any]:
    """Returns a reading."""
    about = {"startTime": "2022-09-28T17:12:30.222", "averageHeartRate": 70}
    about |= {"samplingFrequencyHz": "250", "scalingFactor": 10922, "leadNumber": 1}
    return {**about, "waveformSamples": list(map(int, samples)), **more}


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    log = {"ecgReadings": [reading(ADC), reading(ADC)], "pagination": {}}
    return [Seed("x.json", {"x.json": json.dumps(log).encode()})]
