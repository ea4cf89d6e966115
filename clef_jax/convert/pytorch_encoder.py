# SPDX-License-Identifier: Apache-2.0
"""Runs an ECG encoder and its head in plain PyTorch; needs only this file and a model folder.

The folder holds `model.safetensors`, `config.json` and `preprocessor_config.json`, and with a head
also `head.safetensors`. To embed a lead, and to let the head answer:

    import pytorch_encoder
    model = pytorch_encoder.load("FOLDER")
    embedding = pytorch_encoder.embed(model, signal_mv, sample_rate_hz=250)  # [1, D]
    answer = pytorch_encoder.predict(model, signal_mv, sample_rate_hz=250)
    answer.names, answer.probabilities, answer.decisions  # or .values, .lower, .upper

All of it is differentiable, from millivolts on, so that it can stand inside a loss:

    answers = pytorch_encoder.FromMillivolts(model, sample_rate_hz=250)(signal_mv)
    loss = functional.mse_loss(answers["embedding"], wanted)  # also "probabilities" or "values"

To fine-tune on windows in millivolts [N, T] with labels [N]:

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
no dropout, so training and evaluation mode are the same. It was trained on windows of the length in
`preprocessor_config.json`; cut longer recordings into such windows first.

Answers are results for research, not findings about a patient; this is not a medical device.

Shapes: N signals, C channels, T samples, D embedding, K outputs of the head, M knots of an isotonic
calibration. Needs torch, numpy, scipy and safetensors.
"""

import functools
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import scipy.signal
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

_ARCHITECTURE = (
    *("stem_channels", "stage_channels", "stage_blocks"),
    *("middle_ratio", "group_width", "kernel_taps"),
)
_SIGNALS = {"unit": "mV", "missing": "NaN"}
_VARIANTS = ("filter_bandpass", "paper", "zscore")
"""Published ways to preprocess the windows of ECGFounder (arXiv 2410.04133)."""
_HEAD = ("names", "layer", "kind", "calibration", "coverage", "features", "fitted")
_HEAD_ARRAYS = ("weight", "bias", "centre", "scale", "threshold", "prevalence", "half_width")
_KINDS = ("binary", "multiclass", "multilabel", "regression")
_CALIBRATIONS = ("temperature", "platt", "isotonic")
_MEDIAN_SECONDS = 0.4
_ROWS = 100
"""Number of signals that are preprocessed together for a matrix, to bound the memory."""
_MIN_SECONDS, _MIN_RATE_HZ, _MAX_RATE_HZ = 2.0, 50.0, 100_000.0
"""Limits of the signals that are embedded, as in clef_jax."""


class SameConv(nn.Module):
    """Convolution over time, zero-padded to an output of ceil(T / stride) samples."""

    def __init__(self, in_channels: int, out_channels: int, taps: int, stride: int, groups: int):
        super().__init__()
        self.taps, self.stride = taps, stride
        self.conv = nn.Conv1d(in_channels, out_channels, taps, stride, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lacking = max((-(-x.shape[-1] // self.stride) - 1) * self.stride + self.taps, x.shape[-1])
        lacking -= x.shape[-1]
        return self.conv(functional.pad(x, (lacking // 2, lacking - lacking // 2)))


class Affine(nn.Module):
    """Scale and shift of each channel, in networks that had batch norm."""

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
        if self.stride == 2:  # zero-pads an odd length
            x = functional.max_pool1d(functional.pad(x, (0, x.shape[-1] % 2)), 2)
        left = self.missing // 2
        return y + functional.pad(x, (0, 0, left, self.missing - left))


class Stage(nn.Module):
    """Blocks of one width; the first block halves the number of samples."""

    def __init__(self, blocks: list[Block]):
        super().__init__()
        self.block_list = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.block_list:
            x = block(x)
        return x


class Net1D(nn.Module):
    """Encoder of preprocessed signals [N, C, T] to embeddings [N, D].

    `shape` is "architecture" of `config.json`. Parameters have the names of the stored weights.
    """

    def __init__(self, shape: dict[str, Any], in_channels: int = 1):
        super().__init__()
        self.in_channels, self.embedding_width = in_channels, shape["stage_channels"][-1]
        self.preprocessing: dict[str, Any] = {}
        self.head: Head | None = None
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
        """Returns the mean over time after each stage, [N, C] each; the last is the embedding."""
        x = functional.silu(self.first_conv(x))
        means = []
        for stage in self.stage_list:
            x = stage(x)
            means.append(x.mean(-1))
        return means


class Head(nn.Module):
    """Computes the answers of a head from features of its layer, [N, D].

    `about` is "head" of `config.json`, and `arrays` are those of `head.safetensors`.
    """

    # Buffers, of which a head has those that it needs.
    scale: torch.Tensor
    centre: torch.Tensor
    calibration_slope: torch.Tensor
    calibration_intercept: torch.Tensor
    calibration_knot_logits: torch.Tensor
    calibration_knot_probabilities: torch.Tensor

    def __init__(self, about: dict[str, Any], arrays: dict[str, torch.Tensor]):
        super().__init__()
        self.names, self.kind, self.layer = tuple(about["names"]), about["kind"], about["layer"]
        self.calibration, self.coverage = about.get("calibration"), about.get("coverage")
        single = {name: array.float() for name, array in arrays.items()}
        self.weight, self.bias = (nn.Parameter(single.pop(name)) for name in ("weight", "bias"))
        optional = dict.fromkeys(("threshold", "half_width"))
        for name, array in {**optional, **single}.items():
            self.register_buffer(name.replace(".", "_"), array)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns probabilities, or the values of a regression, [N, K]."""
        logits = functional.linear(features, self.weight, self.bias)
        if self.kind == "regression":
            return logits * self.scale + self.centre
        if self.calibration == "isotonic":
            return self._interpolated(logits)
        if self.calibration is not None:
            logits = logits * self.calibration_slope + self.calibration_intercept
        return logits.softmax(-1) if self.kind == "multiclass" else logits.sigmoid()

    def _interpolated(self, logits: torch.Tensor) -> torch.Tensor:
        """Returns the probabilities between the knots, as a sum of ramps over their intervals."""
        knots, level = self.calibration_knot_logits, self.calibration_knot_probabilities
        # Converters for phones have no operation for `diff`.
        width = (knots[:, 1:] - knots[:, :-1]).clamp(min=1e-30)  # equal knots are a step
        passed = (logits[..., None] - knots[:, :-1]) / width
        return level[:, 0] + (passed.clamp(0, 1) * (level[:, 1:] - level[:, :-1])).sum(-1)

    def answer(self, features: torch.Tensor) -> "Answer":
        """Returns the answers with decisions or intervals; see `Answer`."""
        answers = self(features)
        if self.kind == "regression":
            width = self.half_width
            ends = (None, None) if width is None else (answers - width, answers + width)
            return Answer(self.names, values=answers, lower=ends[0], upper=ends[1])
        decisions = None
        if self.kind == "multiclass":
            decisions = functional.one_hot(answers.argmax(-1), answers.shape[-1]).bool()
        elif self.threshold is not None:
            decisions = answers >= self.threshold
        return Answer(self.names, probabilities=answers, decisions=decisions)


class Answer(NamedTuple):
    """Answers of a head, each [N, K]; None where a head has no such."""

    names: tuple[str, ...]
    """Names of the outputs."""
    probabilities: torch.Tensor | None = None
    """Probabilities of a classification."""
    decisions: torch.Tensor | None = None
    """Whether the probability reaches the threshold, or is the largest of several classes."""
    values: torch.Tensor | None = None
    """Values of a regression."""
    lower: torch.Tensor | None = None
    """Lower ends of the intervals of the values."""
    upper: torch.Tensor | None = None
    """Upper ends of the intervals."""


def load(folder: str | pathlib.Path) -> Net1D:
    """Returns the encoder of a model folder, with its `preprocessing` and its `head` if it has one.

    Raises:
        ValueError: the folder states an architecture, a signal or a head that this file does not
            support.
    """
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    preprocessing = json.loads((folder / "preprocessor_config.json").read_text())
    for name in config["architecture"]:
        if name not in _ARCHITECTURE:
            raise ValueError(f"{folder / 'config.json'} states an unknown {name!r} of the network.")
    for name, value in _SIGNALS.items():
        if preprocessing.get(name, value) != value:
            raise ValueError(
                f"{folder / 'preprocessor_config.json'} states {name} {preprocessing[name]!r}; "
                f"only {value!r} is supported."
            )
    if preprocessing.get("variant", "") not in ("", *_VARIANTS):
        raise ValueError(
            f"{folder / 'preprocessor_config.json'} states the unknown variant "
            f"{preprocessing['variant']!r}."
        )
    weights = load_file(folder / "model.safetensors")
    affine = any(key.endswith(".bn1.scale") for key in weights)
    model = Net1D({**config["architecture"], "input_affine": affine}, config["in_channels"])
    model.load_state_dict(weights, strict=True)
    model.preprocessing = preprocessing
    if "head" in config:
        model.head = _head(folder, config["head"], len(model.stage_list))
    return model.eval()


def _head(folder: pathlib.Path, about: dict[str, Any], num_stages: int) -> Head:
    """Returns the head of a folder; raises ValueError if it is of no supported kind."""
    arrays = load_file(folder / "head.safetensors")
    known = [
        about["kind"] in _KINDS,
        about["layer"] in _stage_names(num_stages),
        about.get("calibration") in (None, *_CALIBRATIONS),
        about.get("features", ["embedding"]) == ["embedding"],
        set(about) <= set(_HEAD),
        {name for name in arrays if not name.startswith("calibration.")} <= set(_HEAD_ARRAYS),
    ]
    if not all(known):
        raise ValueError(
            f"{folder} holds a head that this file does not support, because it is not linear in "
            f"the embedding: kind {about['kind']!r}, layer {about['layer']!r}, features "
            f"{about.get('features')}, arrays {', '.join(arrays)}."
        )
    return Head(about, arrays)


def _stage_names(count: int) -> list[str]:
    return [f"stage_{number}" for number in range(1, count + 1)]


class FromMillivolts(nn.Module):
    """Model of signals in millivolts at one rate: preprocessing, encoder and head.

    Gradients reach the signals. Preprocessing is computed in float64, and the rest in the type of
    the weights.
    """

    def __init__(self, model: Net1D, sample_rate_hz: float):
        super().__init__()
        self.model, self.sample_rate_hz = model, sample_rate_hz

    def forward(self, signal_mv: np.ndarray | torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns `embedding` [N, D] of signals [T], [N, T], or [N, C, T] of C leads, not finite
        where missing; with a head also its `features`, and `probabilities` or `values` [N, K].

        Raises:
            ValueError: the signal has too few samples, or another number of leads.
        """
        model = self.model
        channels = model.in_channels
        if channels > 1 and tuple(np.shape(signal_mv)[-2:-1]) != (channels,):
            raise ValueError(f"This encoder needs signals [N, {channels}, T].")
        like = model.first_conv.conv.weight
        x = preprocess(
            signal_mv, self.sample_rate_hz, model.preprocessing, channels, dtype=like.dtype
        )
        stages = model.stages(x.reshape(-1, channels, x.shape[-1]).to(like.device))
        made = {"embedding": stages[-1]}
        if model.head is not None:
            features = stages[_stage_names(len(stages)).index(model.head.layer)]
            kind = "values" if model.head.kind == "regression" else "probabilities"
            made |= {"features": features, kind: model.head(features)}
        return made


class WholeWindow(nn.Module):
    """Model of complete windows without gaps, whose resampling and filter are one matrix product.

    It suits converters to other formats, which know neither gaps nor Fourier transforms. It takes
    float32 [N, T] or [N, C, T] with the T of the window, and returns the embedding [N, D], with a
    head as a pair with the answers [N, K]. The matrix has a number for each pair of samples.

    Raises:
        ValueError: the preprocessing is a variant of ECGFounder, which is not linear.
    """

    matrix: torch.Tensor

    def __init__(self, model: Net1D, sample_rate_hz: float):
        super().__init__()
        steps = model.preprocessing
        if steps.get("variant"):
            raise ValueError(f"The preprocessing {steps['variant']!r} is not one matrix product.")
        self.model, self.zscored = model, steps["zscored"]
        self.centred = steps["band_hz"] is not None  # the filter removes a constant anyway
        impulses = torch.eye(round(steps["window_seconds"] * sample_rate_hz), dtype=torch.float64)
        linear = {**steps, "zscored": False}
        rows = [preprocess(some, sample_rate_hz, linear) for some in impulses.split(_ROWS)]
        self.register_buffer("matrix", torch.cat(rows))

    def forward(self, signal_mv: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        x = signal_mv - signal_mv.mean(-1, keepdim=True) if self.centred else signal_mv
        x = x @ self.matrix
        x = _scaled(x, (-1,)) if self.zscored else x
        stages = self.model.stages(x[:, None] if x.ndim == 2 else x)
        head = self.model.head
        if head is None:
            return stages[-1]
        return stages[-1], head(stages[_stage_names(len(stages)).index(head.layer)])


@torch.no_grad()
def embed(model: Net1D, signal_mv: np.ndarray, sample_rate_hz: float) -> torch.Tensor:
    """Returns embeddings [N, D] of windows in millivolts: [T], [N, T], or [N, C, T] of C leads."""
    return FromMillivolts(model, sample_rate_hz)(signal_mv)["embedding"]


@torch.no_grad()
def predict(
    model: Net1D, signal_mv: np.ndarray, sample_rate_hz: float, *, of_recording: bool = False
) -> Answer:
    """Returns what the head answers to windows in millivolts, as `embed` takes them.

    Args:
        of_recording: whether the windows are those of one recording, about which there is one
            answer, from the mean of their features.

    Raises:
        ValueError: the model has no head.
    """
    if model.head is None:
        raise ValueError("This model has no head, so it embeds signals, but answers no question.")
    features = FromMillivolts(model, sample_rate_hz)(signal_mv)["features"]
    return model.head.answer(features.mean(0, keepdim=True) if of_recording else features)


def preprocess(
    signal_mv: np.ndarray | torch.Tensor,
    sample_rate_hz: float,
    preprocessing: dict[str, Any],
    num_leads: int = 1,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Returns preprocessed signals [..., T'] of millivolts [..., T].

    Gaps (not finite) are filled by linear interpolation; then the signal is resampled, band-passed
    forwards and backwards, and scaled to mean 0 and standard deviation 1, all in float64 and
    differentiable. The variants of ECGFounder do it as its authors, who scale all of the
    `num_leads` leads of a signal [..., leads, T] together.

    Raises:
        ValueError: the signal is shorter than 2 s, or its rate is not in 50 to 100,000 Hz.
    """
    window_seconds = preprocessing.get("window_seconds", 0)
    _check_limits(np.shape(signal_mv)[-1], sample_rate_hz, window_seconds or _MIN_SECONDS)
    is_tensor = isinstance(signal_mv, torch.Tensor)
    x = signal_mv if is_tensor else torch.tensor(np.asarray(signal_mv, np.float64))
    device = x.device
    x = x.to("cpu" if device.type == "mps" else device).double()  # mps has no float64
    variant = preprocessing.get("variant", "")
    x = torch.where(x.isfinite(), x, 0) if variant == "filter_bandpass" else fill_gaps(x)
    rate_hz = preprocessing["sample_rate_hz"]
    length = round(x.shape[-1] * rate_hz / sample_rate_hz)
    if x.shape[-1] == round(window_seconds * sample_rate_hz):
        # A complete window: its number of samples is rounded at a fractional rate.
        length = round(window_seconds * rate_hz)
    x = _resampled(x, length)
    if variant:
        x = _of_variant(x, rate_hz, variant, num_leads)
    else:
        if preprocessing["band_hz"] is not None:
            x = _filtered(x, "bandpass", tuple(preprocessing["band_hz"]), 5, rate_hz)
        x = _scaled(x, (-1,)) if preprocessing["zscored"] else x
    return x.to(dtype).to(device)


def fill_gaps(x: torch.Tensor) -> torch.Tensor:
    """Returns [..., T] with gaps interpolated linearly and edges held; zeros if all are missing."""
    known, last = x.isfinite(), x.shape[-1] - 1
    time = torch.arange(last + 1, device=x.device).expand(x.shape)
    x = torch.where(known, x, 0)
    before = torch.where(known, time, -1).cummax(-1).values
    after = last - torch.where(known.flip(-1), time, -1).cummax(-1).values.flip(-1)
    # At the edges only one neighbour exists, and it is held.
    left = torch.where(before < 0, after.clamp(max=last), before)
    right = torch.where(after > last, before.clamp(min=0), after)
    start, stop = x.gather(-1, left), x.gather(-1, right)
    fraction = (time - left) / (right - left).clamp(min=1).to(x.dtype)
    return torch.where(known, x, start + (stop - start) * fraction)


def _resampled(x: torch.Tensor, length: int) -> torch.Tensor:
    """Resamples [..., T] to [..., length] by the Fourier method, as `scipy.signal.resample`."""
    before = x.shape[-1]
    if length == before:
        return x
    fewest = min(before, length)
    spectrum = torch.fft.rfft(x)[..., : fewest // 2 + 1]
    if fewest % 2 == 0:  # the bin at half of the lower rate stands for two, or is split in two
        factor = torch.ones(fewest // 2 + 1, dtype=x.dtype, device=x.device)
        factor[-1] = 2.0 if length < before else 0.5
        spectrum = spectrum * factor
    return torch.fft.irfft(spectrum, length) * (length / before)


def _filtered(
    x: torch.Tensor, kind: str, edges_hz: tuple[float, ...], order: int, rate_hz: float
) -> torch.Tensor:
    """Filters [..., T] forwards and backwards, with the extension of `scipy.signal.filtfilt`."""
    padded = 3 * (2 * order + 1 if kind == "bandpass" else order + 1)
    num_samples = x.shape[-1] + 2 * padded
    length = scipy.fft.next_fast_len(2 * num_samples, real=True)
    response, gain = _response(kind, edges_hz, order, rate_hz, num_samples, length)
    response = torch.as_tensor(response, device=x.device)
    start, stop = x[..., :1], x[..., -1:]
    before = 2 * start - x[..., 1 : padded + 1].flip(-1)
    after = 2 * stop - x[..., -padded - 1 : -1].flip(-1)
    x = torch.cat([before, x, after], -1)
    for _ in range(2):  # the second time backwards
        # As if the first sample had been there for ever, to which the filter gives its gain at 0.
        first = x[..., :1]
        spectrum = torch.fft.rfft(x - first, length) * response
        x = (torch.fft.irfft(spectrum, length)[..., :num_samples] + gain * first).flip(-1)
    return x[..., padded:-padded]


@functools.lru_cache(maxsize=16)
def _response(
    kind: str,
    edges_hz: tuple[float, ...],
    order: int,
    rate_hz: float,
    num_samples: int,
    length: int,
) -> tuple[np.ndarray, float]:
    """Returns the spectrum of a filter's first `num_samples` responses to an impulse, padded to
    `length`, and its gain at a frequency of 0."""
    if kind == "notch":
        numerator, denominator = scipy.signal.iirnotch(edges_hz[0], 30, fs=rate_hz)
        sections = scipy.signal.tf2sos(numerator, denominator)
    else:
        edges = edges_hz if kind == "bandpass" else edges_hz[0]
        sections = scipy.signal.butter(order, edges, kind, fs=rate_hz, output="sos")
    impulse = np.zeros(num_samples)
    impulse[0] = 1
    answer = np.asarray(scipy.signal.sosfilt(sections, impulse))
    sections = np.asarray(sections)
    gain = np.prod(sections[:, :3].sum(1) / sections[:, 3:].sum(1))
    return np.fft.rfft(answer, length), float(gain)


def _of_variant(x: torch.Tensor, rate_hz: float, variant: str, num_leads: int) -> torch.Tensor:
    """Returns signals [..., T] without gaps, preprocessed as ECGFounder's authors publish it."""
    if variant != "zscore":
        x = x - x[..., :1]  # which the filters remove; so a flat signal becomes exact zeros
    if variant == "filter_bandpass":
        x = _filtered(x, "notch", (50,), 2, rate_hz)
        x = _filtered(x, "bandpass", (0.67, 40), 4, rate_hz)
        half = (int(_MEDIAN_SECONDS * rate_hz) + 1) // 2
        rows = functional.pad(x, (half, half)).reshape(-1, x.shape[-1] + 2 * half)
        medians = [row.unfold(0, 2 * half + 1, 1).median(-1).values for row in rows]
        x = x - torch.stack(medians).reshape(x.shape)
    if variant == "paper":
        x = _filtered(x, "highpass", (0.5,), 2, rate_hz)
        x = _filtered(x, "lowpass", (50,), 2, rate_hz)
        for frequency_hz in (50, 60):
            x = _filtered(x, "notch", (frequency_hz,), 2, rate_hz)
    return _scaled(x, (-2, -1) if num_leads > 1 else (-1,))


def _scaled(x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Scales to mean 0 and standard deviation 1 over axes."""
    for _ in range(2):  # the rounding of a flat signal must not be scaled up to noise
        x = x - x.mean(axes, keepdim=True)
    variance = (x * x).mean(axes, keepdim=True)
    # The square root has no derivative at 0, where the deviation is 0 as well.
    deviation = torch.where(variance > 0, variance, 1).sqrt() * (variance > 0)
    return x / (deviation + 1e-8)


def _check_limits(num_samples: int, sample_rate_hz: float, window_seconds: float) -> None:
    """Raises ValueError if signals of this length and rate are not embedded."""
    if not _MIN_RATE_HZ <= sample_rate_hz <= _MAX_RATE_HZ:
        raise ValueError(
            f"The sampling rate of the signal is {sample_rate_hz:g} Hz; give a signal of "
            f"{_MIN_RATE_HZ:g} to {_MAX_RATE_HZ:,.0f} Hz."
        )
    least = int(min(_MIN_SECONDS, window_seconds) * sample_rate_hz)
    if num_samples < least:
        raise ValueError(
            f"The signal has {num_samples} samples at {sample_rate_hz:g} Hz; give at least {least}."
        )
