"""The reference's network in plain PyTorch, with the batch norms of its checkpoints."""

import pathlib
import runpy

import torch
from torch import nn
from torch.nn import functional

_TWIN = pathlib.Path(__file__).parents[1] / "benchmarks" / "torch_net1d.py"


def make(size: str, in_channels: int = 1) -> nn.Module:
    """A network with every key of the reference; as there, the norms are never applied."""
    network = runpy.run_path(str(_TWIN))["TorchNet1D"](size, in_channels=in_channels)
    network.first_bn = nn.BatchNorm1d(network.first_conv.conv.out_channels)
    for stage in network.stage_list:
        for block in stage.block_list:
            middle = block.conv1.conv.out_channels
            block.bn1 = nn.BatchNorm1d(block.conv1.conv.in_channels)
            block.bn2, block.bn3 = nn.BatchNorm1d(middle), nn.BatchNorm1d(middle)
    return network.eval()


def embed_with_norms(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """[B, C, T] to [B, D] where every norm is applied that Net1D applies when built with them."""
    x = functional.silu(network.first_bn(network.first_conv(x)))
    for stage in network.stage_list:
        for block in stage.block_list:
            y = x if block.is_first else functional.silu(block.bn1(x))
            y = block.conv2(functional.silu(block.bn2(block.conv1(y))))
            y = block.conv3(functional.silu(block.bn3(y)))
            gate = torch.sigmoid(block.se_fc2(functional.silu(block.se_fc1(y.mean(-1)))))
            if block.stride == 2:
                x = functional.max_pool1d(functional.pad(x, (0, x.shape[-1] % 2)), 2, 2)
            left = block.missing // 2
            x = functional.pad(x, (0, 0, left, block.missing - left)) + y * gate[:, :, None]
    return x.mean(-1)
