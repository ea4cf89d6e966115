"""Small whole EDF, EDF+ and BDF files."""

import numpy as np

from fuzz_seeds import ADC, Seed


def seeds() -> list[Seed]:
    """Returns whole recordings."""

    def file(sample_bytes: int, reserved: str, seconds: tuple[int, ...]) -> bytes:
        labels, units, counts = ("ECG II", "Resp", "EDF Annotations"), ("uV", "", ""), (100, 10, 30)
        texts = [("0", 8), ("X", 80), ("X", 80), ("01.01.26", 8), ("10.00.00", 8), ("1024", 8)]
        texts += [(reserved, 44), ("10", 8), ("0.2", 8), ("3", 4)]
        texts += [(label, 16) for label in labels] + [("", 80)] * 3 + [(u, 8) for u in units]
        texts += [("-32768", 8)] * 3 + [("32767", 8)] * 3 + [("-32768", 8)] * 3
        texts += [("32767", 8)] * 3 + [("", 80)] * 3
        texts += [(str(count), 8) for count in counts] + [("", 32)] * 3
        head = b"".join(text.encode().ljust(width) for text, width in texts)
        if sample_bytes == 3:
            head = b"\xffBIOSEMI" + head[8:]
        body = b""
        for number, second in enumerate(seconds):
            part = np.concatenate([ADC[100 * number : 100 * number + 100], np.arange(10)])
            stored = part.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :sample_bytes]
            onset = f"+{second / 5}\x14\x14".encode()
            body += stored.tobytes() + onset.ljust(30 * sample_bytes, b"\0")
        return head + body

    usual = tuple(range(10))
    contents = (
        ("x.edf", file(2, "EDF+C", usual)),
        ("x.edf", file(2, "EDF+D", (*range(5), *range(50, 55)))),
        ("x.bdf", file(3, "24BIT", usual)),
    )
    return [Seed(name, {name: content}) for name, content in contents]
