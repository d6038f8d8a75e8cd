"""A flow part of the way: what turns goes along its arc, what grows does so by equal factors, the rest in lines."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.warp import pixel_grid

REAL = 1e-6  # a larger imaginary part: no motion of a plane leads there continuously


@dataclass(frozen=True, eq=False)
class _Thing:
    """A connected part: where it is [H,W] bool, its points [2,N], its affine motion and that one's logarithm, 3 x 3."""

    inside: Tensor
    points: Tensor
    whole: np.ndarray
    generator: np.ndarray


@dataclass(frozen=True, eq=False)
class Inbetweens:
    """The way to a flow float32[1,2,H,W] in pixels of the things in a mask float32[1,H,W].

    Of every connected thing the affine motion is taken apart from the rest: its matrix logarithm is shared out
    (Alexa, Linear combination of transformations, SIGGRAPH 2002).
    """

    flow: Tensor
    mask: Tensor

    def at(self, share: float) -> Float[Tensor, "1 2 H W"]:
        """The flow when this share in [0,1] of it has happened; 0 outside the mask."""
        from scipy.linalg import expm  # which all other jobs do without

        part = share * self.flow
        for thing in self._things:
            vectors = self.flow[0][:, thing.inside].double()
            straight, straight_part = (
                _moved(torch.from_numpy(matrix), thing.points)
                for matrix in (thing.whole, expm(share * thing.generator))
            )
            part[0][:, thing.inside] = (straight_part + share * (vectors - straight)).to(part)
        return part * (self.mask > 0)[None].to(part)

    @cached_property
    def _things(self) -> list[_Thing]:
        """Those whose affine motion can be shared out."""
        from scipy.linalg import logm

        count, labels = cv2.connectedComponents((self.mask[0] > 0).cpu().numpy().astype(np.uint8))
        grid, things = pixel_grid(self.flow).double(), []
        for label in range(1, count):
            inside = torch.from_numpy(labels == label).to(self.flow.device)
            points, vectors = (each[0][:, inside].double() for each in (grid, self.flow))
            if (whole := _affine(points, vectors)) is None:
                continue
            generator = logm(whole)
            if np.abs(np.imag(generator)).max() <= REAL:
                things.append(_Thing(inside, points, whole, np.real(generator)))
        return things


def _affine(points: Float[Tensor, "2 N"], vectors: Float[Tensor, "2 N"]) -> np.ndarray | None:
    """The 3 x 3 matrix that fits p -> p + v; None where the points span no plane."""
    known = torch.cat([points, torch.ones_like(points[:1])]).T.numpy()
    solution, _, rank, _ = np.linalg.lstsq(known, (points + vectors).T.numpy(), rcond=None)
    return np.vstack([solution.T, [0, 0, 1]]) if rank == 3 else None


def _moved(matrix: Tensor, points: Float[Tensor, "2 N"]) -> Float[Tensor, "2 N"]:
    return matrix[:2, :2] @ points + matrix[:2, 2:] - points
