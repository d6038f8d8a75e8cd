"""RAFT's recurrent units with what the source alone contributes to their gates worked out once, not at every update."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mtransfer.flow.raft_net import ConvGru, RaftNet


@dataclass(frozen=True)
class Unit:
    """A ConvGru whose input is a fixed context and a changing motion: equal to torchvision's on both together.

    `gates` [2D,D+M,h,w] and `candidate` [D,D+M,h,w] are the weights that hidden state and motion meet; the contexts
    [B,2D,H,W] and [B,D,H,W] what the source adds, biases included.
    """

    gates: Tensor
    gates_context: Tensor
    candidate: Tensor
    candidate_context: Tensor
    padding: tuple[int, int]

    def __call__(self, hidden: Tensor, motion: Tensor) -> Tensor:
        both = torch.cat([hidden, motion], dim=1)
        gates = torch.sigmoid(F.conv2d(both, self.gates, padding=self.padding) + self.gates_context)
        update, reset = gates.chunk(2, dim=1)
        both = torch.cat([reset * hidden, motion], dim=1)
        candidate = torch.tanh(F.conv2d(both, self.candidate, padding=self.padding) + self.candidate_context)
        return (1 - update) * hidden + update * candidate


def recurrent_units(net: RaftNet, context: Tensor) -> list[Unit]:
    """The recurrent units of `net` for a source's context [B,E,H,W]."""
    return [_unit(each, context) for each in net.update_block.recurrent_block.children() if isinstance(each, ConvGru)]


def _unit(gru: ConvGru, context: Tensor) -> Unit:
    hidden_size, padding = gru.hidden, gru.padding
    end = hidden_size + context.shape[1]
    weights = torch.cat([gru.convz.weight, gru.convr.weight]), gru.convq.weight
    z, r, q = (each.bias for each in (gru.convz, gru.convr, gru.convq) if each.bias is not None)
    biases = torch.cat([z, r]), q
    moving = [torch.cat([weight[:, :hidden_size], weight[:, end:]], dim=1) for weight in weights]
    fixed = [
        F.conv2d(context, weight[:, hidden_size:end], bias, padding=padding)
        for weight, bias in zip(weights, biases, strict=True)
    ]
    return Unit(moving[0], fixed[0], moving[1], fixed[1], padding)
