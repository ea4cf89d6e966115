"""Answers of the benchmark's processes, for its tests."""

LIMIT_BYTES = 140 * 10**9


def machine(platform="gpu"):
    kind = {"gpu": "NVIDIA H200", "cpu": "cpu"}[platform]
    return {"platform": platform, "device_kind": kind, "num_devices": 1, "num_cores": 2}


def kernels():
    """Estimate and clock of the kernels of a step."""
    sums = {"num_kernels": 2, "estimated_us": 40.0, "measured_us": 60.0, "ratio": 1.5}
    return {"num_steps": 5, "all": sums, "by_kind": {"fusion": sums}, "most_different": []}


def outcome(machine, batch, most):
    """Of a step of `batch` patients where `most` fit."""
    precision = "float32" if machine["platform"] == "cpu" else "bfloat16"
    if batch > most:
        unknown = {"peak_bytes": None, "planned_bytes": None, "available_bytes": None}
        rest = {"compile_seconds": None, "step_seconds": []} | unknown
        return {"machine": machine, "fits": False, "precision": precision} | rest
    return {
        "machine": machine,
        "fits": True,
        "precision": precision,
        "compile_seconds": 20.0,
        "step_seconds": [0.5, 0.4, 0.6],
        "planned_bytes": batch * LIMIT_BYTES // most,
        "peak_bytes": batch * LIMIT_BYTES // most,
        "available_bytes": LIMIT_BYTES,
    }
