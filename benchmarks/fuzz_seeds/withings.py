"""Small whole tables of ECGs of Withings, written from the description in its export."""

from collections.abc import Iterable

from fuzz_seeds import ADC, Seed

COLUMNS = "date,type,frequency,duration,wearposition,signal,doctor_assessment,doctor_name"


def row(samples: Iterable[object], position: int = 1, *, quote: str = '"') -> str:
    """Returns a row of a device at a position: 0 and 1 are wrists, 2 and 3 are arms."""
    texts = ",".join(map(str, samples))
    return f"2020-08-28T10:00:00+02:00,ECG,300,30,{position},{quote}[{texts}]{quote},,"


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    rows = [row(ADC.astype(int)), row((ADC / 1000).round(3), 3, quote="")]
    text = "\n".join([COLUMNS, *rows])
    return [Seed("signal.csv", {"signal.csv": text.encode()})]
