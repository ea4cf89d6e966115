# SPDX-License-Identifier: Apache-2.0
"""An ECG encoder in plain PyTorch: this file and a model folder are all that it needs.

The folder holds `model.safetensors`, `config.json` and `preprocessor_config.json`. Embed a lead:

    import pytorch_encoder
    model = pytorch_encoder.load("FOLDER")
    embedding = pytorch_encoder.embed(model, signal_mv, sample_rate_hz=250)  # [1, D]

Fine-tune on windows in millivolts [N, T] with labels [N]:

    inputs = pytorch_encoder.preprocess(windows_mv, 250, model.preprocessing)[:, None]
    batches = torch.utils.data.TensorDataset(inputs, labels)
    network = torch.nn.Sequential(model, torch.nn.Linear(model.embedding_width, num_classes))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    for epoch in range(10):
        for signal, label in torch.utils.data.DataLoader(batches, 64, shuffle=True):
            loss = torch.nn.functional.cross_entropy(network(signal), label)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

The network is CLEF's (arXiv 2512.02180): a ResNeXt-1D with squeeze-excitation, no normalisation and
no dropout, so that training and evaluation mode are one. It learned from windows of the length that
`preprocessor_config.json` names; cut longer recordings into such windows first.

Shapes: N signals, C channels, T samples, D embedding. Needs torch, numpy, scipy and safetensors.
"""

import json
import pathlib
from typing import Any

import numpy as np
import scipy.signal
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional


class SameConv(nn.Module):
    """Convolution over time; pads with zeros so that ceil(T / stride) samples come out."""

    def __init__(self, in_channels: int, out_channels: int, taps: int, stride: int, groups: int):
        super().__init__()
        self.taps, self.stride = taps, stride
        self.conv = nn.Conv1d(in_channels, out_channels, taps, stride, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lacking = max((-(-x.shape[-1] // self.stride) - 1) * self.stride + self.taps, x.shape[-1])
        lacking -= x.shape[-1]
        return self.conv(functional.pad(x, (lacking // 2, lacking - lacking // 2)))


class Affine(nn.Module):
    """A scale and a shift of each channel; only networks that had batch norm have it."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale[:, None] + self.shift[:, None]


class Block(nn.Module):
    """Residual bottleneck with squeeze-excitation: [N, C_in, T] to [N, C, ceil(T / stride)]."""

    def __init__(
        self, shape: dict[str, Any], in_channels: int, channels: int, stride: int, first: bool
    ):
        super().__init__()
        middle, groups = int(channels * shape["middle_ratio"]), channels // shape["group_width"]
        self.stride, self.first, self.missing = stride, first, channels - in_channels
        if shape.get("input_affine") and not first:
            self.bn1 = Affine(in_channels)
        else:
            self.bn1 = nn.Identity()
        self.conv1 = SameConv(in_channels, middle, 1, 1, 1)
        self.conv2 = SameConv(middle, middle, shape["kernel_taps"], stride, groups)
        self.conv3 = SameConv(middle, channels, 1, 1, 1)
        self.se_fc1 = nn.Linear(channels, channels // 2)
        self.se_fc2 = nn.Linear(channels // 2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.first else functional.silu(self.bn1(x))
        y = self.conv2(functional.silu(self.conv1(y)))
        y = self.conv3(functional.silu(y))
        gate = self.se_fc2(functional.silu(self.se_fc1(y.mean(-1))))
        y = y * torch.sigmoid(gate)[:, :, None]
        if self.stride == 2:  # an odd length ends in a pair with zero
            x = functional.max_pool1d(functional.pad(x, (0, x.shape[-1] % 2)), 2)
        left = self.missing // 2
        return y + functional.pad(x, (0, 0, left, self.missing - left))


class Stage(nn.Module):
    """Blocks of one width; the first halves time."""

    def __init__(self, blocks: list[Block]):
        super().__init__()
        self.block_list = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.block_list:
            x = block(x)
        return x


class Net1D(nn.Module):
    """The encoder: preprocessed signals [N, C, T] to embeddings [N, D].

    `shape` is "architecture" of `config.json`; names of parameters are those of the weights.
    """

    def __init__(self, shape: dict[str, Any], in_channels: int = 1):
        super().__init__()
        self.in_channels, self.embedding_width = in_channels, shape["stage_channels"][-1]
        self.preprocessing: dict[str, Any] = {}
        channels = shape["stem_channels"]
        self.first_conv = SameConv(in_channels, channels, shape["kernel_taps"], 2, 1)
        stages = []
        for width, depth in zip(shape["stage_channels"], shape["stage_blocks"], strict=True):
            blocks = []
            for i in range(depth):
                first = not (stages or blocks)
                blocks.append(Block(shape, channels, width, 1 if i else 2, first))
                channels = width
            stages.append(Stage(blocks))
        self.stage_list = nn.ModuleList(stages)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.stages(x)[-1]

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The mean over time after each stage, [N, C] each; the last is the embedding."""
        x = functional.silu(self.first_conv(x))
        means = []
        for stage in self.stage_list:
            x = stage(x)
            means.append(x.mean(-1))
        return means


def load(folder: str | pathlib.Path) -> Net1D:
    """The encoder of a model folder, in evaluation mode; `preprocessing` says what it expects."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    affine = any(key.endswith(".bn1.scale") for key in weights)
    model = Net1D({**config["architecture"], "input_affine": affine}, config["in_channels"])
    model.load_state_dict(weights, strict=True)
    model.preprocessing = json.loads((folder / "preprocessor_config.json").read_text())
    return model.eval()


def preprocess(
    signal_mv: np.ndarray, sample_rate_hz: float, preprocessing: dict[str, Any]
) -> torch.Tensor:
    """What the encoder learned from: float32 [..., T'] of millivolts [..., T].

    Gaps (what is not finite) are filled by straight lines, all in float64; then the signal is
    resampled, band-passed forwards and backwards, and scaled to mean 0 and deviation 1.
    Raises ValueError where a signal is too short for the filter or the rate for the band.
    """
    x = fill_gaps(signal_mv)
    rate_hz = preprocessing["sample_rate_hz"]
    length = round(x.shape[-1] * rate_hz / sample_rate_hz)
    window_seconds = preprocessing.get("window_seconds", 0)
    if x.shape[-1] == round(window_seconds * sample_rate_hz):
        # A whole window, whose number of samples is rounded at a fractional rate.
        length = round(window_seconds * rate_hz)
    if length != x.shape[-1]:
        x = np.asarray(scipy.signal.resample(x, length, axis=-1))
    if preprocessing["band_hz"] is not None:
        band_hz = preprocessing["band_hz"]
        sections = scipy.signal.butter(5, band_hz, "bandpass", fs=rate_hz, output="sos")
        x = np.asarray(scipy.signal.sosfiltfilt(sections, x, axis=-1, padlen=33))
    if preprocessing["zscored"]:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / (x.std(axis=-1, keepdims=True) + 1e-8)
    return torch.tensor(x, dtype=torch.float32)


def fill_gaps(x: np.ndarray) -> np.ndarray:
    """[..., T] with gaps filled linearly in time, edges held, and zeros where nothing is known."""
    x = np.array(x, np.float64)
    rows = x.reshape(-1, x.shape[-1])
    time = np.arange(x.shape[-1])
    for row in rows:
        known = np.isfinite(row)
        row[:] = np.interp(time, time[known], row[known]) if known.any() else 0.0
    return rows.reshape(x.shape)


def embed(model: Net1D, signal_mv: np.ndarray, sample_rate_hz: float) -> torch.Tensor:
    """Embeddings [N, D] of windows in millivolts [T] or [N, T], or [N, C, T] of C leads at once."""
    if model.in_channels > 1 and np.shape(signal_mv)[-2:-1] != (model.in_channels,):
        raise ValueError(f"This encoder takes [N, {model.in_channels}, T].")
    x = preprocess(signal_mv, sample_rate_hz, model.preprocessing)
    device = next(model.parameters()).device
    with torch.no_grad():
        return model(x.reshape(-1, model.in_channels, x.shape[-1]).to(device))
