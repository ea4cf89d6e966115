"""Small whole WFDB records."""

import struct

import numpy as np

from fuzz_seeds import ADC, Seed


def seeds() -> list[Seed]:
    """Returns whole recordings."""
    adc = ADC.astype("<i2")
    checksum = int(adc.astype(int).sum()) & 0xFFFF
    line = f"16 1000/mV 16 0 {adc[0]} {checksum} 0"
    pairs = np.stack([adc[0::2], adc[1::2]]).astype(int) & 0xFFF
    packed = np.stack(
        [pairs[0] & 255, (pairs[0] >> 8) | ((pairs[1] >> 8) << 4), pairs[1] & 255], 1
    ).astype(np.uint8)
    wide = adc.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    steps = np.diff(adc, prepend=adc[:1]).clip(-128, 127).astype(np.int8)
    matrix = struct.pack("<5i", 30, 1, len(adc), 0, 4) + b"val\0"
    frames = np.concatenate([adc.reshape(-1, 4), adc[:250, None]], 1)
    n = len(adc)
    single = {
        "16": (f"r 1 500 {n}\nr.dat {line} II\n# Age: 63\n", adc.tobytes()),
        "212": (f"r 1 500 {n}\nr.dat 212 1000/mV 12 0 0 0 0 II\n", packed.tobytes()),
        "24": ("r 1 500\nr.dat 24 1000(0)/mV 24 0 0 0 0 II\n", wide),
        "8": (f"r 1 500 {n}\nr.dat 8 1000/mV 12 0 {adc[0]} 0 0 II\n", steps.tobytes()),
        "frames": (
            f"r 2 125 {n // 4}\nr.dat 16x4 1000/mV 16 0 0 0 0 II\nr.dat 16 9/pm 16 0 0 0 0 RESP\n",
            frames.tobytes(),
        ),
    }
    seeds = [
        Seed("r.hea", {"r.hea": head.encode(), "r.dat": body}) for head, body in single.values()
    ]
    challenge = f"r 1 500 {n}\nr.mat 16+24 1000/mV 16 0 0 0 0 II\n".encode()
    seeds.append(Seed("r.hea", {"r.hea": challenge, "r.mat": matrix + adc.tobytes()}))
    segments = {
        "r.hea": f"r/3 1 500 {3 * n}\nr_1 {n}\n~ {n}\nr_2 {n}\n".encode(),
        "r_1.hea": f"r_1 1 500 {n}\nr_1.dat {line} II\n".encode(),
        "r_2.hea": f"r_2 1 500 {n}\nr_2.dat 16 2000/mV 16 0 0 0 0 II\n".encode(),
        "r_1.dat": adc.tobytes(),
        "r_2.dat": adc.tobytes(),
    }
    return [*seeds, Seed("r.hea", segments)]
