"""Rates and memory of chips, per device as JAX counts devices."""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """Rates and memory of one device; None where unknown."""

    name: str
    platform: str
    """JAX's name of the platform: `tpu`, `gpu` or `cpu`."""
    peak_flops_per_second: float | None
    """Peak rate of bfloat16 matrix products."""
    memory_bytes: int | None
    memory_bytes_per_second: float | None
    link_bytes_per_second: float | None
    """Rate at which a device sends to its neighbours, over all links in one direction."""
    network_bytes_per_second: float | None
    """Rate at which a device sends to other islands: TPU slices, or hosts of GPUs."""
    island_devices: int | None = None
    """Devices per host of GPUs; None if the whole topology, or each slice, is one island."""
    clock_hz: float | None = None
    """Cycles per second of the compiler's estimate: peak / (operations per cycle of all matrix
    units). With this clock the compiler estimates 70 to 93 % of the peak for a product of two
    8192 x 8192 bfloat16 matrices, and 72 to 81 % of the bandwidth for an elementwise copy."""
    devices_per_chip: int = 1
    """Number of JAX devices per chip."""
    device_kinds: tuple[str, ...] = ()
    """JAX's names of the device, without variants (PCIe, 40 GB) that have other rates."""
    reference: str
    """Publication of the figures."""


_CLOUD = "cloud.google.com/tpu/docs, system architecture"

CHIPS = {
    chip.name: chip
    for chip in (
        Chip(
            name="v4",
            platform="tpu",
            device_kinds=("TPU v4",),
            peak_flops_per_second=275e12,
            memory_bytes=32 * GIB,
            memory_bytes_per_second=1200e9,
            link_bytes_per_second=300e9,
            network_bytes_per_second=None,
            clock_hz=1.05e9,
            reference=f"{_CLOUD} (v4); links: Jouppi et al. 2023, arXiv 2304.01433, table 4",
        ),
        Chip(
            name="v5e",
            platform="tpu",
            device_kinds=(
                "TPU v5 lite",
                "TPU v5e",
            ),
            peak_flops_per_second=197e12,
            memory_bytes=16 * GIB,
            memory_bytes_per_second=819e9,
            link_bytes_per_second=200e9,
            network_bytes_per_second=3.1e9,
            clock_hz=1.5e9,
            reference=f"{_CLOUD} (v5e); network: 6.4 Tbps a pod of 256",
        ),
        Chip(
            name="v5p",
            platform="tpu",
            device_kinds=(
                "TPU v5",
                "TPU v5p",
            ),
            peak_flops_per_second=459e12,
            memory_bytes=95 * GIB,
            memory_bytes_per_second=2765e9,
            link_bytes_per_second=600e9,
            network_bytes_per_second=6.25e9,
            clock_hz=1.75e9,
            reference=f"{_CLOUD} (v5p)",
        ),
        Chip(
            name="v6e",
            platform="tpu",
            device_kinds=(
                "TPU v6 lite",
                "TPU v6e",
            ),
            peak_flops_per_second=918e12,
            memory_bytes=32 * GIB,
            memory_bytes_per_second=1638e9,
            link_bytes_per_second=400e9,
            network_bytes_per_second=None,
            clock_hz=1.75e9,
            reference=f"{_CLOUD} (v6e)",
        ),
        Chip(
            name="tpu7x",
            platform="tpu",
            device_kinds=(
                "TPU7x",
                "TPU 7x",
            ),
            peak_flops_per_second=2307e12 / 2,
            memory_bytes=96 * GIB,
            memory_bytes_per_second=7380e9 / 2,
            link_bytes_per_second=600e9 / 2,
            network_bytes_per_second=None,
            clock_hz=2.2e9,
            devices_per_chip=2,
            reference=f"{_CLOUD} (tpu7x), halved: each chip is two devices",
        ),
        Chip(
            name="a100",
            platform="gpu",
            device_kinds=("NVIDIA A100-SXM4-80GB",),
            peak_flops_per_second=312e12,
            memory_bytes=85_100_068_864,
            memory_bytes_per_second=2039e9,
            link_bytes_per_second=300e9,
            network_bytes_per_second=25e9,
            island_devices=8,
            reference="NVIDIA A100 80GB SXM data sheet; network: DGX A100, 200 Gb/s a GPU",
        ),
        Chip(
            name="h100",
            platform="gpu",
            device_kinds=("NVIDIA H100 80GB HBM3",),
            peak_flops_per_second=989e12,
            memory_bytes=84_942_979_072,
            memory_bytes_per_second=3350e9,
            link_bytes_per_second=450e9,
            network_bytes_per_second=50e9,
            island_devices=8,
            reference="NVIDIA H100 SXM data sheet, dense; network: DGX H100, 400 Gb/s a GPU",
        ),
        Chip(
            name="h200",
            platform="gpu",
            device_kinds=("NVIDIA H200",),
            peak_flops_per_second=989e12,
            memory_bytes=151_397_597_184,
            memory_bytes_per_second=4800e9,
            link_bytes_per_second=450e9,
            network_bytes_per_second=50e9,
            island_devices=8,
            reference="NVIDIA H200 SXM data sheet, dense; network: DGX H200, 400 Gb/s a GPU",
        ),
        Chip(
            name="b200",
            platform="gpu",
            device_kinds=("NVIDIA B200",),
            peak_flops_per_second=2250e12,
            memory_bytes=191_514_411_008,
            memory_bytes_per_second=7672e9,
            link_bytes_per_second=900e9,
            network_bytes_per_second=50e9,
            island_devices=8,
            reference="NVIDIA DGX B200 data sheet, dense; network: 400 Gb/s a GPU",
        ),
        Chip(
            name="cpu",
            platform="cpu",
            peak_flops_per_second=None,
            memory_bytes=None,
            memory_bytes_per_second=None,
            link_bytes_per_second=None,
            network_bytes_per_second=None,
            reference="simulated devices of this machine",
        ),
    )
}


def by_device_kind(device_kind: str) -> Chip | None:
    """Returns the chip of a device from JAX's name of it; None if it is not listed."""
    return next((chip for chip in CHIPS.values() if device_kind in chip.device_kinds), None)
