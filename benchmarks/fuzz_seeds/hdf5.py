"""Small whole HDF5 files."""

import io
from collections.abc import Callable

import numpy as np

from fuzz_seeds import ADC, Seed


def code_15(num_recordings: int = 2, dtype: str = "f4") -> dict[str, np.ndarray]:
    """Returns the arrays of a part of CODE-15 %, with zeros at both ends and leads that agree."""
    one, two = ADC / 1000, np.roll(ADC, 7) / 800
    three = two - one
    limb = [one, two, three, -(one + two) / 2, one - two / 2, two - one / 2]
    chest = [np.roll(ADC, 3 * number) / 500 for number in range(1, 7)]
    tracings = np.zeros((num_recordings, 4096, 12), dtype)
    for row in range(num_recordings):
        tracings[row, 648 : 648 + len(ADC)] = np.stack(limb + chest, 1) * (row + 1)
    return {"exam_id": 590 + np.arange(num_recordings), "tracings": tracings}


def write(fill: Callable, **options: object) -> bytes:
    """Returns the bytes of a file that `fill` fills."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w", **options) as file:
        fill(file)
    return stream.getvalue()


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    signal = np.stack([ADC, -ADC])

    def part(file):
        for name, array in code_15(1).items():
            chunks = {"compression": "gzip"} if array.ndim > 1 else {}
            file.create_dataset(name, data=array, **chunks)

    def table(file):
        file["ecg"] = np.stack([signal] * 3).astype(np.int16)
        table = np.array([(b"a", 500), (b"b", 500), (b"a", 250)], [("id", "S4"), ("fs", "f4")])
        file["table"] = table
        file.attrs["units"], file.attrs["lead_names"] = "uV", ["I", "II"]

    def by_recording(file):
        for number in range(3):
            group = file.create_group(f"subject/rec{number}")
            group.create_dataset("ecg", data=signal / 1000, compression="lzf", shuffle=True)
            group["ecg"].attrs["fs"], group["ecg"].attrs["unit"] = 500, "mV"

    def by_lead(file):
        file.attrs["fs"] = "500 Hz"
        for name, row in zip(("I", "II"), signal, strict=True):
            file.create_dataset(name, data=row, fletcher32=True)

    contents = (
        write(part),
        write(table),
        write(by_recording, libver="latest"),
        write(by_lead, userblock_size=512),
    )
    return [Seed("x.h5", {"x.h5": content}) for content in contents]
