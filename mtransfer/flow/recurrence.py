"""RAFT's recurrent units with what the source alone contributes to their gates worked out once, not at every update."""

from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.optical_flow import RAFT
from torchvision.models.optical_flow.raft import ConvGRU


@dataclass(frozen=True)
class Unit:
    """A ConvGRU whose input is a fixed context and a changing motion: equal to torchvision's on both together.

    `gates` [2D,D+M,h,w] and `candidate` [D,D+M,h,w] are the weights that hidden state and motion meet; the contexts
    [B,2D,H,W] and [B,D,H,W] what the source adds, biases included.
    """

    gates: Tensor
    gates_context: Tensor
    candidate: Tensor
    candidate_context: Tensor
    padding: tuple[int, int]

    def to(self, dtype: torch.dtype) -> Self:
        """The same in another precision."""
        names = ("gates", "gates_context", "candidate", "candidate_context")
        return replace(self, **{name: getattr(self, name).to(dtype) for name in names})

    def __call__(self, hidden: Tensor, motion: Tensor) -> Tensor:
        both = torch.cat([hidden, motion], dim=1)
        gates = torch.sigmoid(F.conv2d(both, self.gates, padding=self.padding) + self.gates_context)
        update, reset = gates.chunk(2, dim=1)
        both = torch.cat([reset * hidden, motion], dim=1)
        candidate = torch.tanh(F.conv2d(both, self.candidate, padding=self.padding) + self.candidate_context)
        return (1 - update) * hidden + update * candidate


def recurrent_units(net: RAFT, context: Tensor) -> list[Unit]:
    """The recurrent units of `net` for a source's context [B,E,H,W]."""
    block = net.update_block.recurrent_block
    # The second of a small RAFT is a function that passes the hidden state through.
    return [_unit(each, context) for each in (block.convgru1, block.convgru2) if isinstance(each, ConvGRU)]


def _unit(gru: ConvGRU, context: Tensor) -> Unit:
    hidden_size, padding = gru.convz.out_channels, gru.convz.padding
    end = hidden_size + context.shape[1]
    weights = torch.cat([gru.convz.weight, gru.convr.weight]), gru.convq.weight
    biases = torch.cat([gru.convz.bias, gru.convr.bias]), gru.convq.bias
    moving = [torch.cat([weight[:, :hidden_size], weight[:, end:]], dim=1) for weight in weights]
    fixed = [
        F.conv2d(context, weight[:, hidden_size:end], bias, padding=padding)
        for weight, bias in zip(weights, biases, strict=True)
    ]
    return Unit(moving[0], fixed[0], moving[1], fixed[1], padding)
