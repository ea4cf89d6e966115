"""Small whole exports of Kardia, written from the description of its interface."""

import json
from typing import Any

from fuzz_seeds import ADC, Seed

LEADS = ("leadI", "leadII", "leadIII", "AVR", "AVL", "AVF")


def block(samples: dict[str, list[int]], **more: Any) -> dict[str, Any]:
    """Returns one kind of samples."""
    return {"frequency": 300, "mainsFrequency": 50, "samples": samples, **more}


def document(**kinds: dict[str, Any]) -> dict[str, Any]:
    """Returns a recording of some kinds of samples, such as raw and enhanced."""
    about = {"id": "x", "patientID": "Jane Doe", "heartRate": 70, "duration": 30000}
    about |= {"recordedAt": "2021-04-16T15:19:09+05:30", "algorithmDetermination": "normal"}
    return {**about, "data": kinds}


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    samples = ADC.astype(int).tolist()
    six = block(dict.fromkeys(LEADS, samples), amplitudeResolution=500)
    one = block({"leadI": samples}, amplitudeResolution=500)
    texts = [json.dumps(document(raw=six, enhanced=six)), json.dumps(document(enhanced=one))]
    return [Seed("x.json", {"x.json": text.encode()}) for text in texts]
