"""RAFT's layers, named as torchvision names them, whose checkpoints they take.

torchvision's own would do, but importing torchvision takes longer than reading the flow of a short clip. Teed and Deng,
RAFT, ECCV 2020.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PYRAMID_LEVELS = 4
STRIDE = 8  # pixels a cell of the feature map
STRIDES = (2, 1, 2, 2)  # of the encoder's first convolution and its three layers
MASK_SHARE = 0.25  # of what the mask predictor says, as in training

Norm = Callable[[int], nn.Module]


class ConvNorm(nn.Sequential):
    """A convolution of square `kernel` that keeps the size over `stride`, its norm, and ReLU unless `linear`."""

    def __init__(
        self, before: int, after: int, kernel: int, *, stride: int = 1, norm: Norm | None = None, linear: bool = False
    ) -> None:
        convolution = nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2)
        norms = [] if norm is None else [norm(after)]
        super().__init__(convolution, *norms, *([] if linear else [nn.ReLU(inplace=True)]))


class Block(nn.Module):
    """Convolutions around which the input, `downsample`d where the size changes, is added."""

    downsample: nn.Module

    def __init__(self, before: int, after: int, stride: int, norm: Norm | None, *, bottleneck: bool) -> None:
        super().__init__()
        narrow = after // 4 if bottleneck else after
        if bottleneck:
            self.convnormrelu1 = ConvNorm(before, narrow, 1, norm=norm)
            self.convnormrelu2 = ConvNorm(narrow, narrow, 3, stride=stride, norm=norm)
            self.convnormrelu3: nn.Module = ConvNorm(narrow, after, 1, norm=norm)
        else:
            self.convnormrelu1 = ConvNorm(before, after, 3, stride=stride, norm=norm)
            self.convnormrelu2 = ConvNorm(after, after, 3, norm=norm)
            self.convnormrelu3 = nn.Identity()
        same = stride == 1
        self.downsample = nn.Identity() if same else ConvNorm(before, after, 1, stride=stride, norm=norm, linear=True)

    def forward(self, values: Tensor) -> Tensor:
        made = self.convnormrelu3(self.convnormrelu2(self.convnormrelu1(values)))
        return F.relu(self.downsample(values) + made)


class Encoder(nn.Module):
    """Features [B,C,H/8,W/8] of an image [B,3,H,W] in [-1,1]; `widths` are the channels of layer after layer."""

    def __init__(self, widths: tuple[int, ...], norm: Norm | None, *, bottleneck: bool) -> None:
        super().__init__()
        block = partial(Block, norm=norm, bottleneck=bottleneck)
        self.convnormrelu = ConvNorm(3, widths[0], 7, stride=STRIDES[0], norm=norm)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(block(before, after, stride), block(after, after, 1))
            for before, after, stride in zip(widths[:3], widths[1:4], STRIDES[1:], strict=True)
        )
        self.conv = nn.Conv2d(widths[3], widths[4], 1)
        for each in self.modules():
            if isinstance(each, nn.Conv2d):
                nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.conv(self.layer3(self.layer2(self.layer1(self.convnormrelu(image)))))
        return found


class MotionEncoder(nn.Module):
    """What correlation and flow [B,2,h,w] say of the motion, the flow itself last."""

    def __init__(self, looked_up: int, correlation: tuple[int, ...], flow: tuple[int, int], after: int) -> None:
        super().__init__()
        self.convcorr1 = ConvNorm(looked_up, correlation[0], 1)
        self.convcorr2: nn.Module = ConvNorm(*correlation, 3) if len(correlation) == 2 else nn.Identity()
        self.convflow1, self.convflow2 = ConvNorm(2, flow[0], 7), ConvNorm(*flow, 3)
        self.conv = ConvNorm(correlation[-1] + flow[-1], after - 2, 3)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        both = [self.convcorr2(self.convcorr1(correlation)), self.convflow2(self.convflow1(flow))]
        return torch.cat([self.conv(torch.cat(both, dim=1)), flow], dim=1)


class ConvGru(nn.Module):
    """The weights of a convolutional gated recurrent unit, which `recurrence` runs."""

    def __init__(self, before: int, hidden: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.hidden, self.padding = hidden, (kernel[0] // 2, kernel[1] // 2)
        self.convz, self.convr, self.convq = (
            nn.Conv2d(hidden + before, hidden, kernel, padding=self.padding) for _ in range(3)
        )


class FlowHead(nn.Module):
    """How the flow, in cells, is to change by what the hidden state says."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(hidden, width, 3, padding=1), nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        change: Tensor = self.conv2(F.relu(self.conv1(hidden)))
        return change


class MaskPredictor(nn.Module):
    """How the 3 x 3 cells around it make each of a cell's 8 x 8 pixels: [B,9*64,h,w], before a softmax."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.convrelu, self.conv = ConvNorm(hidden, width, 3), nn.Conv2d(width, 9 * STRIDE**2, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        return MASK_SHARE * self.conv(self.convrelu(hidden))


@dataclass(frozen=True)
class Layout:
    """The sizes of a RAFT: channels of its layers, and the cells to each side in which correlation is looked up."""

    features: tuple[int, ...]
    context: tuple[int, ...]
    context_norm: Norm | None
    bottleneck: bool
    radius: int
    correlation: tuple[int, ...]
    flow: tuple[int, int]
    motion: int
    hidden: int
    kernels: tuple[tuple[int, int], ...]
    head: int
    mask: int | None


SMALL = Layout(
    features=(32, 32, 64, 96, 128),
    context=(32, 32, 64, 96, 160),
    context_norm=None,
    bottleneck=True,
    radius=3,
    correlation=(96,),
    flow=(64, 32),
    motion=82,
    hidden=96,
    kernels=((3, 3),),
    head=128,
    mask=None,
)
LARGE = Layout(
    features=(64, 64, 96, 128, 256),
    context=(64, 64, 96, 128, 256),
    context_norm=nn.BatchNorm2d,
    bottleneck=False,
    radius=4,
    correlation=(256, 192),
    flow=(128, 64),
    motion=128,
    hidden=128,
    kernels=((1, 5), (5, 1)),
    head=256,
    mask=256,
)


class UpdateBlock(nn.Module):
    """What is run at every update; the hidden state has `hidden_state_size` channels."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.hidden_state_size = layout.hidden
        looked_up = PYRAMID_LEVELS * (2 * layout.radius + 1) ** 2
        self.motion_encoder = MotionEncoder(looked_up, layout.correlation, layout.flow, layout.motion)
        before = layout.motion + layout.context[-1] - layout.hidden
        units = {f"convgru{n}": ConvGru(before, layout.hidden, each) for n, each in enumerate(layout.kernels, start=1)}
        self.recurrent_block = nn.ModuleDict(units)
        self.flow_head = FlowHead(layout.hidden, layout.head)


class RaftNet(nn.Module):
    """The layers of a RAFT; how they are run is `raft`'s."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.radius = layout.radius
        self.feature_encoder = Encoder(layout.features, nn.InstanceNorm2d, bottleneck=layout.bottleneck)
        self.context_encoder = Encoder(layout.context, layout.context_norm, bottleneck=layout.bottleneck)
        self.update_block = UpdateBlock(layout)
        self.mask_predictor = None if layout.mask is None else MaskPredictor(layout.hidden, layout.mask)


def correlation_pyramid(
    first: Float[Tensor, "B C h w"], second: Float[Tensor, "B C h w"]
) -> list[Float[Tensor, "N 1 _ _"]]:
    """The products of every cell's features with all of the other image's, N = B h w, and halved again and again."""
    batch, channels, height, width = first.shape
    products = first.flatten(2).transpose(1, 2) @ second.flatten(2) / math.sqrt(channels)
    levels = [products.view(batch * height * width, 1, height, width)]
    for _ in range(PYRAMID_LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2, stride=2))
    return levels


def look_up(pyramid: list[Tensor], position: Float[Tensor, "B 2 h w"], radius: int) -> Float[Tensor, "B N h w"]:
    """The correlation around `position` (x, y), in cells, in squares of `radius` cells of every level to each side."""
    batch, _, height, width = position.shape
    steps = torch.arange(-radius, radius + 1, dtype=position.dtype, device=position.device)
    around = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
    centres = position.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    found = []
    for level, values in enumerate(pyramid):
        last = centres.new_tensor([values.shape[-1] - 1, values.shape[-2] - 1])
        places = 2 * (centres / 2**level + around) / last - 1
        found.append(F.grid_sample(values, places, align_corners=True).view(batch, height, width, -1))
    return torch.cat(found, dim=-1).permute(0, 3, 1, 2).contiguous()


def enlarged(cells: Float[Tensor, "B 2 h w"], mask: Float[Tensor, "B N h w"] | None) -> Float[Tensor, "B 2 H W"]:
    """Flow in cells as flow in pixels: the convex combination of cells that the predicted mask says, else bilinear."""
    batch, _, height, width = cells.shape
    size = STRIDE * height, STRIDE * width
    if mask is None:
        return STRIDE * F.interpolate(cells, size, mode="bilinear", align_corners=True)
    weights = torch.softmax(mask.view(batch, 1, 9, STRIDE, STRIDE, height, width), dim=2)
    near = F.unfold(STRIDE * cells, 3, padding=1).view(batch, 2, 9, 1, 1, height, width)
    return (weights * near).sum(dim=2).permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, *size)
