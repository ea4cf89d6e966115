"""Small whole text tables."""

import numpy as np

from fuzz_seeds import ADC, Seed


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    millivolts, times = ADC / 1000, np.arange(len(ADC)) / 500

    def table(heading: str, separator: str, *columns: np.ndarray, decimal: str = ".") -> bytes:
        rows = zip(*columns, strict=True)
        texts = [separator.join(f"{v:.6g}" for v in row).replace(".", decimal) for row in rows]
        return f"{heading}\n{chr(10).join(texts)}\n".encode()

    quoted = "\n".join(f'"{value:.3f}","{-value:.3f}"'.replace(".", ",") for value in millivolts)
    clocks = [f"2026-03-01T10:00:{t:06.3f}+01:00,{v:.3f}" for t, v in zip(times, ADC, strict=True)]
    facts = '# {"a": {"sensor": ["ECG"], "sampling rate": 500, "column": ["nSeq", "A1"]}}'
    texts = (
        table("time (s),I (mV),II (uV)", ",", times, millivolts, ADC),
        table("Zeit;I;II\ns;mV;mV", ";", times, millivolts, millivolts, decimal=","),
        table("Sampling rate: 500 Hz\nUnit: uV\nI\tII", "\t", ADC, ADC),
        f'"I","II"\n{quoted}\n'.encode(),
        "\n".join(["timestamp,ecg_mv", *clocks]).encode(),
        table(facts, "\t", np.arange(len(ADC)) % 16, ADC),
        "\n".join(",".join(f"{v:.3f}" for v in millivolts * k) for k in range(1, 13)).encode(),
    )
    return [Seed("x.csv", {"x.csv": text}) for text in texts]
