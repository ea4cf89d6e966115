"""Net1D in plain PyTorch, for comparison: the same network and key names, without tuning.

Shapes: B batch, C channels, T time (samples), D embedding.
"""

import torch
from torch import nn
from torch.nn import functional

from clef_jax.models import SIZES, EncoderSize


class SameConv(nn.Module):
    """Convolution over time whose output has ceil(T / stride) samples."""

    def __init__(self, in_channels: int, out_channels: int, taps: int, stride: int, groups: int):
        super().__init__()
        self.taps, self.stride = taps, stride
        self.conv = nn.Conv1d(in_channels, out_channels, taps, stride, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, C_in, T] to [B, C_out, ceil(T / stride)]."""
        outputs = -(-x.shape[-1] // self.stride)
        total = max((outputs - 1) * self.stride + self.taps - x.shape[-1], 0)
        if total:
            x = functional.pad(x, (total // 2, total - total // 2))
        return self.conv(x)


class Block(nn.Module):
    """Residual bottleneck block with squeeze-excitation."""

    def __init__(
        self, size: EncoderSize, in_channels: int, channels: int, stride: int, is_first: bool
    ):
        super().__init__()
        middle, groups = size.middle_channels(channels), size.groups(channels)
        self.stride, self.is_first = stride, is_first
        self.missing = channels - in_channels
        self.conv1 = SameConv(in_channels, middle, 1, 1, 1)
        self.conv2 = SameConv(middle, middle, size.kernel_taps, stride, groups)
        self.conv3 = SameConv(middle, channels, 1, 1, 1)
        self.se_fc1 = nn.Linear(channels, channels // 2)
        self.se_fc2 = nn.Linear(channels // 2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, C_in, T] to [B, C, ceil(T / stride)]."""
        y = self.conv1(x if self.is_first else functional.silu(x))
        y = self.conv2(functional.silu(y))
        y = self.conv3(functional.silu(y))
        gate = torch.sigmoid(self.se_fc2(functional.silu(self.se_fc1(y.mean(-1)))))
        y = y * gate[:, :, None]
        if self.stride == 2:
            x = functional.max_pool1d(functional.pad(x, (0, x.shape[-1] % 2)), 2, 2)
        if self.missing:
            left = self.missing // 2
            x = functional.pad(x, (0, 0, left, self.missing - left))
        return y + x


class Stage(nn.Module):
    """Blocks of one width."""

    def __init__(self, blocks: list[Block]):
        super().__init__()
        self.block_list = nn.ModuleList(blocks)


class TorchNet1D(nn.Module):
    """The encoder: maps [B, in_channels, T] to [B, D]."""

    def __init__(self, size: str, in_channels: int = 1):
        super().__init__()
        spec = SIZES[size]
        channels = spec.stem_channels
        self.first_conv = SameConv(in_channels, channels, spec.kernel_taps, 2, 1)
        stages = []
        for width, depth in zip(spec.stage_channels, spec.stage_blocks, strict=True):
            blocks = []
            for i in range(depth):
                is_first = not (stages or blocks)
                blocks.append(Block(spec, channels, width, 1 if i else 2, is_first))
                channels = width
            stages.append(Stage(blocks))
        self.stage_list = nn.ModuleList(stages)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.silu(self.first_conv(x))
        for stage in self.stage_list:
            for block in stage.block_list:
                x = block(x)
        return x.mean(-1)
