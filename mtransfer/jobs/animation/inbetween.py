"""A flow part of the way: what turns goes along its arc, what grows does so by equal factors, the rest in lines."""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mtransfer.flow.warp import pixel_grid

REAL = 1e-6  # a larger imaginary part: no motion of a plane leads there continuously


def partway(flow: Float[Tensor, "1 2 H W"], mask: Float[Tensor, "1 H W"], share: float) -> Float[Tensor, "1 2 H W"]:
    """The flow in pixels of the masked things when this share in [0,1] of it has happened; 0 outside the mask.

    Of every connected thing the affine motion is taken apart from the rest: its matrix logarithm is shared out
    (Alexa, Linear combination of transformations, SIGGRAPH 2002).
    """
    from scipy.linalg import expm, logm  # which all other jobs do without

    count, labels = cv2.connectedComponents((mask[0] > 0).cpu().numpy().astype(np.uint8))
    grid, part = pixel_grid(flow).double(), share * flow
    for label in range(1, count):
        inside = torch.from_numpy(labels == label).to(flow.device)
        points, vectors = (each[0][:, inside].double() for each in (grid, flow))
        whole = _affine(points, vectors)
        if whole is None:
            continue
        generator = logm(whole)
        if np.abs(np.imag(generator)).max() > REAL:
            continue
        before = torch.from_numpy(expm(share * np.real(generator)))
        straight, straight_part = (_moved(each, points) for each in (torch.from_numpy(whole), before))
        part[0][:, inside] = (straight_part + share * (vectors - straight)).to(flow)
    return part * (mask > 0)[None].to(flow)


def _affine(points: Float[Tensor, "2 N"], vectors: Float[Tensor, "2 N"]) -> np.ndarray | None:
    """The 3 x 3 matrix that fits p -> p + v; None where the points span no plane."""
    known = torch.cat([points, torch.ones_like(points[:1])]).T.numpy()
    solution, _, rank, _ = np.linalg.lstsq(known, (points + vectors).T.numpy(), rcond=None)
    return np.vstack([solution.T, [0, 0, 1]]) if rank == 3 else None


def _moved(matrix: Tensor, points: Float[Tensor, "2 N"]) -> Float[Tensor, "2 N"]:
    return matrix[:2, :2] @ points + matrix[:2, 2:] - points
