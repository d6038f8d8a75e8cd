"""Painting the frames of an animation in order, each from the original photo, so that nothing drifts or flickers.

Frame t is the photo's subject moved along the flow 0 -> t over one background plate. Three things make the frames one
film: the plate, in which what is painted where the subject has left is kept for all later frames; what the sampler
added to the frame before, which is carried along the flow to begin with; and the same noise for every frame.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.field import FlowField, resize
from mtransfer.flow.splatting import extend_flow
from mtransfer.flow.warp import INVERTED_SIDE_PX, RING_PX, dilate, invert_flow, pixel_grid, sample
from mtransfer.media.crop import WHOLE, Window
from mtransfer.media.quantize import quantize_uint8
from mtransfer.sampling.composite import (
    FEATHER_PX,
    WarpComposite,
    blend,
    feather,
    halo_px,
    make_composite,
    remove_subject,
)
from mtransfer.sampling.ddim import Callback
from mtransfer.sampling.highres import SamplingTools, cut, sample_parts, size_to_sample

QUICK_SIDE_PX = 320  # of larger pictures the motion of a quick look is inverted on every n-th pixel


@dataclass(frozen=True)
class _Added:
    """What the sampler added to a frame's draft [1,3,h,w], at its own size, and the frame's flow there."""

    change: Tensor
    flow: Tensor


class FrameRenderer:
    """Paints frames in order, or takes up frames that were painted before: either way the next one is the same.

    `own` [1,3,H,W] in [0,1] is the photo, `mask` [1,1,H,W] its subject; `where` is the window that is sampled in every
    frame; `plate` [1,3,H,W] the photo without the subject, by default as it is filled here. Without `tools` frames are
    the warp alone. `flicker` has, for every frame after another that vacated the same
    pixels, the mean absolute difference of these pixels, in levels of 255.
    """

    def __init__(
        self,
        tools: SamplingTools | None,
        own: Tensor,
        mask: Tensor,
        where: Window = WHOLE,
        seed: int = 0,
        plate: Tensor | None = None,
    ) -> None:
        self.seed, self.tools, self.own, self.mask, self.where = seed, tools, own, mask, where
        self.plate = remove_subject(own, mask) if plate is None else plate
        self.evaluations, self.flicker = 0, list[float]()
        self._settled = torch.zeros_like(mask)
        self._added: _Added | None = None
        self._before: tuple[Tensor, Tensor] | None = None  # the last frame and what it vacated

    def paint(self, flow: FlowField, on_step: Callback) -> Float[Tensor, "1 3 H W"]:
        """The next frame, in 256 levels; with no flow it is the photo."""
        if self.tools is None:
            frame, vacated = self.warped(flow)
            self.note(frame, vacated)
            return frame
        if not bool(flow.flow.any()):
            self.note(self.own, torch.zeros_like(self.mask))
            return self.own
        draft = self._draft(flow)
        edited = blend(self.own, draft.image, draft.edit)
        part = cut(flow, self.own, self.mask, self.plate, draft, self.where)
        painted, evaluations = sample_parts(self.tools, [part], [self.seed], on_step, self._carried(flow))
        edited[..., self.where[0], self.where[1]] = painted[0]
        edited += feather(dilate(self._still(draft), FEATHER_PX)) * self._settled * (self.plate - edited)
        self.evaluations += evaluations
        frame = quantize_uint8(edited)
        self._keep(flow, draft, frame)
        return frame

    def warped(self, flow: FlowField) -> tuple[Float[Tensor, "1 3 H W"], Float[Tensor, "1 1 H W"]]:
        """A frame that is the warp alone, in 256 levels, and what the subject has vacated: of any frame, in any order.

        `note` is to be told of them in order.
        """
        if not bool(flow.flow.any()):
            return self.own, torch.zeros_like(self.mask)
        draft = self._draft(flow)
        return quantize_uint8(blend(self.own, draft.image, draft.edit)), draft.vacated

    def recall(self, flow: FlowField, frame: Float[Tensor, "1 3 H W"]) -> None:
        """Take up the next frame as `paint` made it."""
        if not bool(flow.flow.any()):
            self.note(frame, torch.zeros_like(self.mask))
            return
        self._keep(flow, self._draft(flow), frame)

    def _draft(self, flow: FlowField) -> WarpComposite:
        side_px = QUICK_SIDE_PX if self.tools is None else INVERTED_SIDE_PX
        return make_composite(self.own, flow.flow, self.mask, self.plate, side_px)

    def _keep(self, flow: FlowField, draft: WarpComposite, frame: Tensor) -> None:
        """Remember what later frames need; of the frame alone, so that one read from its file serves as well."""
        self.note(frame, draft.vacated)
        if self.tools is None:
            return
        still = self._still(draft)
        self.plate = torch.where((still * (1 - self._settled)) > 0, frame, self.plate)
        self._settled = torch.maximum(self._settled, still)
        rows, columns = self.where
        size = self._size()
        change = ((1 - still) * (frame - draft.image))[..., rows, columns]
        self._added = _Added(F.interpolate(change, size, mode="area"), self._small(flow).flow)

    def _still(self, draft: WarpComposite) -> Tensor:
        """1 where background may have been painted, clear of the moved subject and its halo; 0 elsewhere."""
        return (draft.edit > 0).to(self.own) * (1 - dilate((draft.target > 0).to(self.own), halo_px(self.own)))

    def _carried(self, flow: FlowField) -> Tensor | None:
        """What was added to the frame before, where the subject is now."""
        if self._added is None:
            return None
        rows, columns = self.where
        mask = F.interpolate(self.mask[..., rows, columns], self._size(), mode="area")
        backward, silhouette = invert_flow(self._small(flow).flow, mask)
        before, _ = extend_flow(self._added.flow, mask > 0, RING_PX)
        source = pixel_grid(backward) + backward
        carried = sample(self._added.change, source + sample(before, source), padding_mode="zeros")
        return carried * dilate((silhouette > 0).to(carried), RING_PX)

    def _size(self) -> tuple[int, int]:
        assert self.tools is not None
        rows, columns = self.where
        return size_to_sample(self.tools, self.own[..., rows, columns])

    def _small(self, flow: FlowField) -> FlowField:
        rows, columns = self.where
        return resize(FlowField(flow.flow[..., rows, columns], flow.confidence[..., rows, columns]), self._size())

    def note(self, frame: Float[Tensor, "1 3 H W"], vacated: Float[Tensor, "1 1 H W"]) -> None:
        """Measure how much pixels flicker that are vacated in this frame and were in the one before."""
        if self._before is not None:
            # What the subject covers in part changes because the subject moves.
            both = (vacated == 1) & (self._before[1] == 1)
            if bool(both.any()):
                difference = (frame - self._before[0]).abs().mean(dim=1, keepdim=True)
                self.flicker.append(255 * float(difference[both].mean()))
        self._before = frame, vacated
