import dataclasses
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks import motionbench
from benchmarks.motionbench import Case, ClipCase, load_cases, load_clip_cases
from mtransfer.flow.field import FlowField
from mtransfer.flow.io import load_field
from mtransfer.flow.warp import forward_warp, pixel_grid, sample
from mtransfer.media.photo.photo import read_photo
from mtransfer.media.video import ClipReader
from mtransfer.motion.retarget import fit_similarity, retarget
from mtransfer.subject.subject import subject_from_mask
from training.images import _split

EVERY = [pytest.param(True, id="quick"), pytest.param(False, id="all", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=EVERY)
def cases(request: pytest.FixtureRequest) -> list[Case]:
    return load_cases(quick=request.param)


@pytest.fixture(scope="module", params=EVERY)
def clips(request: pytest.FixtureRequest) -> list[ClipCase]:
    return load_clip_cases(quick=request.param)


def contents(case: Case | ClipCase) -> list[object]:
    values = [getattr(case, field.name) for field in dataclasses.fields(case)]
    return [value.numpy().tobytes() if isinstance(value, Tensor) else value for value in values]


def length_px(flow: Tensor, where: Tensor) -> Tensor:
    return flow[0][:, where[0, 0]].norm(dim=0)


def test_the_same_bytes_come_out_twice_whatever_else_was_drawn(cases: list[Case]) -> None:
    torch.manual_seed(2)
    np.random.seed(2)
    known = {case.name: contents(case) for case in cases}
    again = [case for case in load_cases("tuning", quick=len(cases) < 32) if case.name in known]
    assert len(again) >= 4
    assert all(known[case.name] == contents(case) for case in again)


def test_the_same_clip_comes_out_twice(clips: list[ClipCase]) -> None:
    torch.manual_seed(2)
    assert contents(motionbench._clip_case(0)) == contents(clips[0])


def test_no_picture_was_trained_on_and_each_has_its_licence() -> None:
    rows = re.findall(
        r"^\| `(\S+)` \| \S+ \| `(\S+)` \|", (motionbench.PICTURES / "LICENSES.md").read_text("utf-8"), re.M
    )
    held = {str(path.relative_to(motionbench.PICTURES)) for path in motionbench.PICTURES.glob("*/*.*")}
    assert {file for file, _ in rows} == held
    assert {_split(Path("/usr/share") / source) for _, source in rows} == {"heldout"}
    assert sum(path.stat().st_size for path in motionbench.PICTURES.rglob("*.*")) < 6e6


def test_the_halves_hold_as_many_of_each_and_share_no_picture() -> None:
    plans = motionbench._plans()
    assert len(plans) == 32
    halves = [[plan for plan in plans if plan.split == split] for split in motionbench.SPLITS]
    for fact in ("kind", "medium", "imperfect"):
        counts = [Counter(getattr(plan, fact) for plan in half) for half in halves]
        assert counts[0] == counts[1]
    assert Counter(plan.imperfect for plan in plans) == Counter(plan.medium == "drawings" for plan in plans)
    assert set(Counter(plan.kind for plan in plans).values()) <= {4, 5, 6}
    assert 10 <= sum(plan.shadow for plan in plans) <= 12
    for suffix in (".png", ".jpg"):
        tuning, reported = (
            {motionbench._pick(medium, split, suffix, place) for medium in motionbench.MEDIA for place in range(20)}
            for split in motionbench.SPLITS
        )
        assert not tuning & reported


def test_half_of_the_clips_have_a_moving_camera_in_each_half_and_motion() -> None:
    assert len(motionbench.CLIPS) == 12
    cameras = Counter((split, camera) for _, camera, split in motionbench.CLIPS)
    assert cameras == {
        (s, c): 3 if c == "still" else 1 for s in motionbench.SPLITS for c in ("still", "pan", "zoom", "roll")
    }
    assert set(Counter((motion, split) for motion, _, split in motionbench.CLIPS).values()) == {2}


def test_quick_takes_one_case_of_each_kind_with_and_without_faults() -> None:
    quick = load_cases("reported", quick=True)
    assert [case.kind for case in quick] == list(motionbench.KINDS)
    assert {case.split for case in quick} == {"reported"}
    assert {case.imperfect for case in quick} == {False, True}


def test_tensors_have_the_stated_shapes_and_ranges(cases: list[Case]) -> None:
    for case in cases:
        for field in dataclasses.fields(case):
            value = getattr(case, field.name)
            if not isinstance(value, Tensor):
                continue
            channels = 3 if field.name in ("source", "after") else 2 if "flow" in field.name else 1
            assert value.shape == (1, channels, 256, 256)
            assert value.dtype == torch.float32
            assert "flow" in field.name or (value.min() >= 0 and value.max() <= 1)


def test_subjects_start_inside_the_picture_and_move_visibly(cases: list[Case]) -> None:
    for case in cases:
        border = torch.ones_like(case.subject)
        border[..., 2:-2, 2:-2] = 0
        assert not (case.subject * border).any(), case.name
        assert bool((case.target * border).any()) == (case.kind == "leaving"), case.name
        assert 0.045 < case.subject.mean() < 0.26, case.name
        assert 14 < length_px(case.true_flow, case.subject > 0.5).quantile(0.95) < 61, case.name


def test_the_true_flow_carries_the_source_onto_the_after_image(cases: list[Case]) -> None:
    exact, off = [], []
    for case in cases:
        for errors, slip in ((exact, 0.0), (off, 1.0)):
            warped, target = forward_warp(case.source, case.true_flow + slip * (case.subject > 0), case.subject)
            inside = ((target > 0.95) & (case.target > 0.95)).expand_as(warped)
            errors.append(float((warped - case.after)[inside].abs().mean()))
            if not slip:
                assert (target - case.target).abs().mean() < 0.04 * case.target.mean(), case.name
    assert max(exact) < 0.03
    # The check must notice a flow that is wrong by one pixel each way.
    assert all(wrong > 1.5 * right for right, wrong in zip(exact, off, strict=True))


def test_the_masks_agree_with_each_other_and_with_the_pictures(cases: list[Case]) -> None:
    for case in cases:
        torch.testing.assert_close(case.vacated, case.subject * (1 - case.target))
        torch.testing.assert_close(case.covered, case.target * (1 - case.subject))
        untouched = (case.subject == 0) & (case.target == 0) & (case.shadow == 0)
        assert torch.equal(case.source * untouched, case.after * untouched)
        assert torch.equal(
            case.true_flow.ne(0).any(dim=1, keepdim=True) & (case.subject == 0), torch.zeros_like(untouched)
        )
        changed = (case.source - case.after).abs().amax(dim=1, keepdim=True) > 0.1
        assert (changed & (case.vacated + case.covered > 0.5)).sum() > 0.3 * (case.vacated + case.covered > 0.5).sum()


def test_perfect_guidance_is_the_truth(cases: list[Case]) -> None:
    for case in (case for case in cases if not case.imperfect):
        assert torch.equal(case.flow, case.true_flow)
        assert torch.equal(case.mask, case.subject)
        assert bool((case.confidence == 1).all())
        assert not case.fault


def test_imperfect_flow_is_off_by_the_stated_share_and_unknown_in_patches(cases: list[Case]) -> None:
    for case in (case for case in cases if case.imperfect):
        unknown = (case.confidence == 0) & (case.mask > 0)
        judged = (case.confidence > 0) & (case.mask > 0) & (case.subject > 0.5)
        share = length_px(case.flow - case.true_flow, judged).mean() / length_px(case.true_flow, judged).mean()
        assert 0.049 < share < 0.151, case.name
        assert f"flow {100 * share:.0f} % off" in case.fault
        assert 0.03 < unknown.sum() / (case.mask > 0).sum() < 0.3, case.name
        assert not (case.flow * unknown).any()
        assert not (case.flow * (case.mask == 0)).any()
        assert not ((case.confidence == 0) & (case.mask == 0)).any()


def test_given_masks_are_off_by_four_to_eight_pixels(cases: list[Case]) -> None:
    kinds = set()
    for case in (case for case in cases if case.imperfect):
        how, width = re.match(r"mask (\w+) (\d) px", case.fault).groups()  # type: ignore[union-attr]
        assert 4 <= int(width) <= 8
        assert abs(_mask_off_px(case, how) - int(width)) <= 1, (case.name, case.fault)
        kinds.add(how)
    assert len(kinds) >= 2


def _mask_off_px(case: Case, how: str) -> float:
    true, given = (mask[0, 0].numpy() > 0.5 for mask in (case.subject, case.mask))
    if how == "dilated":
        assert given[true].all()
        return float(ndimage.distance_transform_edt(~true)[given].max())
    if how == "eroded":
        assert true[given].all()
        return float(ndimage.distance_transform_edt(true)[given].min())
    # A shift can push part of the mask over the picture's edge, so the best of all whole shifts is looked for.
    overlaps = {
        (dy, dx): (ndimage.shift(true.astype(int), (dy, dx), order=0) == given).mean()
        for dy in range(-9, 10)
        for dx in range(-9, 10)
    }
    return float(np.hypot(*max(overlaps, key=overlaps.__getitem__)))


def test_clips_show_the_flow_they_tell(clips: list[ClipCase]) -> None:
    for case in clips:
        assert 8 <= len(case.frames) == len(case.clip_masks) <= 12
        points = pixel_grid(case.clip_flow) + case.clip_flow
        subject_stays = case.clip_masks[:1] > 0.95
        scenery_stays = (case.clip_masks[:1] == 0) & (sample(case.clip_masks[-1:], points) == 0)
        limit = torch.tensor([318.0, 238.0]).view(1, 2, 1, 1)
        seen = ((points > 1) & (points < limit)).all(dim=1, keepdim=True) & (subject_stays | scenery_stays)
        error = (sample(case.frames[-1:], points) - case.frames[:1]).abs().mean(dim=1, keepdim=True)[seen]
        assert error.mean() < 0.03, case.name
        assert not case.frames[:, :, 0].eq(0).all(dim=1).all(dim=1).any()


def test_the_true_retargeted_flow_follows_from_clip_flow_and_masks(clips: list[ClipCase]) -> None:
    """Recomputed from what the case shows: maps fitted to its clip flow, centroids and areas from its masks."""
    for case in clips:
        mask = case.clip_masks[0, 0].numpy()
        both, camera = _fitted(case.clip_flow, mask > 0), _fitted(case.clip_flow, mask == 0)
        motion = np.linalg.inv(camera) @ both
        fit = np.diag([*2 * [np.sqrt(float(case.photo_mask.sum()) / mask.sum())], 1.0])
        fit[:2, 2] = _centroid(case.photo_mask[0, 0].numpy()) - fit[:2, :2] @ _centroid(mask)
        on_photo = fit @ motion @ np.linalg.inv(fit)
        rows, columns = np.nonzero(case.photo_mask[0, 0].numpy())
        start = np.stack([columns, rows, np.ones(len(rows))])
        wanted = (on_photo @ start - start)[:2]
        assert np.abs(case.true_flow[0].numpy()[:, rows, columns] - wanted).max() < 0.15, case.name
        assert not case.true_flow[(case.photo_mask == 0).expand_as(case.true_flow)].any()


def _fitted(flow: Tensor, where: np.ndarray) -> np.ndarray:
    """The affine map 3 x 3 that explains the flow best."""
    rows, columns = np.nonzero(where)
    start = np.stack([columns, rows, np.ones(len(rows))], axis=1).astype(np.float64)
    end = start[:, :2] + flow[0].numpy()[:, rows, columns].T
    return np.vstack([np.linalg.lstsq(start, end, rcond=None)[0].T, [0, 0, 1]])


def _centroid(mask: np.ndarray) -> np.ndarray:
    y, x = ndimage.center_of_mass(mask)
    return np.array([x, y])


def test_retargeting_a_still_clip_exactly_gives_the_truth(clips: list[ClipCase]) -> None:
    for case in (case for case in clips if case.camera == "still"):
        clip, photo = (
            subject_from_mask(case.frames[0], case.clip_masks[0]),
            subject_from_mask(case.photo[0], case.photo_mask[0]),
        )
        field = retarget(FlowField.from_flow(case.clip_flow), fit_similarity(clip, photo), clip.mask, photo.mask, 1.0)
        known = (field.confidence > 0.99) & (case.photo_mask > 0.5)
        assert length_px(field.flow - case.true_flow, known).max() < 0.3, case.name


def test_the_photo_is_moved_by_the_true_flow(clips: list[ClipCase]) -> None:
    for case in clips:
        warped, target = forward_warp(case.photo, case.true_flow, case.photo_mask)
        assert (warped - case.after)[(target > 0.99).expand_as(warped)].abs().mean() < 0.04, case.name


def test_cases_are_written_as_files_that_read_back_the_same(cases: list[Case], tmp_path: Path) -> None:
    case = next(case for case in cases if case.imperfect)
    motionbench.write_case(case, tmp_path)
    assert torch.equal(read_photo(tmp_path / "src.png").image[None], case.source)
    assert torch.equal(read_photo(tmp_path / "true.png").image[None], case.after)
    assert torch.equal(read_photo(tmp_path / "mask.png").image[None, :1], case.mask)
    given = load_field(tmp_path / "flow.npz")
    assert torch.equal(given.flow, case.flow)
    assert torch.equal(given.confidence, case.confidence)
    assert torch.equal(load_field(tmp_path / "true_flow.npz").flow, case.true_flow)


@pytest.mark.slow
def test_the_command_writes_every_case_and_a_sheet(tmp_path: Path) -> None:
    motionbench.main(["-o", str(tmp_path), "--quick", "--clips"])
    assert (tmp_path / "cases.png").exists()
    assert (tmp_path / "clips.png").exists()
    for case in load_cases(quick=True):
        assert (tmp_path / case.name / "src.png").exists()
    for case in load_clip_cases(quick=True):
        clip = ClipReader(tmp_path / case.name / "clip.mp4").clip
        assert (clip.frame_count, clip.size) == (len(case.frames), motionbench.CLIP_SIZE)
