import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pictures_of_things import as_image, gradient, grey, ladybird_and_goldfish, noise
from PIL import Image
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.flow.warp import pixel_grid
from mtransfer.media.photo.photo import read_photo, save_png
from mtransfer.subject.segment import Found, find_subject, segment
from mtransfer.subject.subject import Subject

SAMPLES = Path(__file__).parents[2] / "samples"
SIZE = (150, 200)


def disc(x: float, y: float, radius: float) -> Tensor:
    grid_x, grid_y = pixel_grid(torch.zeros(1, 1, *SIZE))[0]
    return ((grid_x - x) ** 2 + (grid_y - y) ** 2 <= radius**2).float()[None]


ORANGE_DISC, BLUE_DISC = disc(80, 70, 28), disc(160, 110, 16)


def background() -> Tensor:
    noise = torch.rand(1, 1, SIZE[0] // 2, SIZE[1] // 2, generator=torch.Generator().manual_seed(0))
    return (0.5 + 0.15 * (F.interpolate(noise, SIZE, mode="bicubic")[0] - 0.5)).expand(3, -1, -1)


def scene() -> Tensor:
    """An orange disc towards the middle and a smaller blue one in a corner, on noisy grey."""
    image = background()
    for mask, colour in ((ORANGE_DISC, (0.95, 0.5, 0.1)), (BLUE_DISC, (0.1, 0.3, 0.9))):
        image = torch.where(mask > 0, torch.tensor(colour).view(3, 1, 1) + 0.3 * (image - 0.5), image)
    return image.clamp(0, 1)


def overlap(found: Subject, truth: Tensor) -> float:
    solid = (found.mask > 0.5).float()
    return float((solid * truth).sum() / torch.maximum(solid, truth).sum())


def by_colours(image: Tensor, spec: str, alpha: Tensor | None = None, flag: str = "--subject") -> Subject:
    return segment(image, spec, alpha, by="grabcut", flag=flag)


def refused(spec: str, image: Tensor | None = None, alpha: Tensor | None = None) -> str:
    with pytest.raises(InputError) as error:
        by_colours(scene() if image is None else image, spec, alpha)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("spec", "truth"),
    [
        ("80,70", ORANGE_DISC),
        ("95,60", ORANGE_DISC),
        ("160,110", BLUE_DISC),
        ("45,35,115,105", ORANGE_DISC),
        ("135,85,185,135", BLUE_DISC),
        ("80.5, 70.25", ORANGE_DISC),
    ],
)
def test_a_point_or_a_box_shows_the_subject(spec, truth) -> None:
    found = by_colours(scene(), spec)
    assert overlap(found, truth) > 0.95
    assert 0 <= found.mask.min() <= found.mask.max() <= 1


def test_left_alone_it_finds_what_stands_out_towards_the_middle() -> None:
    found = by_colours(scene(), "auto")
    assert overlap(found, ORANGE_DISC) > 0.95
    assert found.box_xyxy == pytest.approx((52, 42, 109, 99), abs=2)


def test_all_is_the_whole_picture() -> None:
    found = by_colours(scene(), "all")
    assert bool((found.mask == 1).all())
    assert found.box_xyxy == (0, 0, 200, 150)


def test_an_alpha_channel_is_the_subject_until_another_is_shown() -> None:
    alpha = disc(150, 40, 20) * 0.75
    assert torch.equal(by_colours(scene(), "auto", alpha).mask, alpha)
    assert overlap(by_colours(scene(), "80,70", alpha), ORANGE_DISC) > 0.95


def test_a_mask_file_is_the_subject_however_bright_it_is_drawn(tmp_path: Path) -> None:
    mask = disc(150, 40, 20)
    save_png(0.6 * mask.expand(3, -1, -1), tmp_path / "mask.png")
    found = by_colours(scene(), str(tmp_path / "mask.png"))
    torch.testing.assert_close(found.mask, mask, atol=1 / 255, rtol=0)
    assert found.box_xyxy == (130, 20, 171, 61)


def test_a_mask_file_with_alpha_is_the_subject_by_its_alpha(tmp_path: Path) -> None:
    mask = disc(150, 40, 20)
    levels = torch.cat([torch.ones(3, *SIZE), mask]).mul(255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(tmp_path / "mask.png")
    assert torch.equal(by_colours(scene(), str(tmp_path / "mask.png")).mask, mask)


@pytest.mark.parametrize("size", [(455, 768), (900, 1200), (64, 80)])
def test_a_subject_is_found_at_the_pictures_own_size(size) -> None:
    image, truth = (F.interpolate(p[None], size, mode="area")[0] for p in (scene(), ORANGE_DISC))
    found = by_colours(image, "auto")
    assert found.mask.shape == (1, *size)
    assert overlap(found, (truth > 0.5).float()) > 0.9


@pytest.mark.parametrize("spec", ["auto", "80,70", "45,35,115,105"])
def test_the_same_picture_gives_the_same_subject(spec) -> None:
    assert torch.equal(by_colours(scene(), spec).mask, by_colours(scene(), spec).mask)


def test_a_ring_keeps_its_hole() -> None:
    image = torch.where(disc(80, 70, 13) > 0, background(), scene())
    assert overlap(by_colours(image, "45,35,115,105"), ORANGE_DISC - disc(80, 70, 13)) > 0.9


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_uniform_picture_has_no_subject(level) -> None:
    message = refused("auto", torch.full((3, *SIZE), level))
    assert "no clear subject found; point at it with --subject x,y or a box" in message


@pytest.mark.parametrize("spec", ["100,75", "20,20,60,60"])
def test_a_point_or_box_does_not_help_there(spec) -> None:
    assert f"--subject {spec}: no clear subject found" in refused(spec, torch.full((3, *SIZE), 0.5))


def test_the_option_that_gave_the_subject_is_named() -> None:
    for spec in ("500,70", "1,2,3", "0,0,200,150"):
        with pytest.raises(InputError, match=f"--clip-subject {spec}"):
            by_colours(scene(), spec, flag="--clip-subject")


def test_a_picture_without_structure_is_not_cut_in_two() -> None:
    x = pixel_grid(torch.zeros(1, 1, *SIZE))[0, :1] / SIZE[1]
    assert "no clear subject" in refused("auto", (0.3 + 0.1 * x).expand(3, -1, -1))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("500,70", "--subject 500,70: outside the picture of 200 x 150 pixels"),
        ("-1,70", "outside the picture"),
        ("80,151", "outside the picture"),
        ("nan,5", "outside the picture"),
        ("40,40,40,90", "empty box"),
        ("90,40,40,90", "empty box"),
        ("40,40,90,400", "outside the picture"),
        ("1,2,3", "a point is x,y and a box x0,y0,x1,y1"),
        ("0", "a point is x,y and a box x0,y0,x1,y1"),
        ("", "folder"),
        ("nowhere.png", "nowhere.png does not exist"),
        ("x,y", "x,y does not exist"),
    ],
)
def test_what_shows_no_subject_is_named(spec, words) -> None:
    assert words in refused(spec)


def test_a_box_of_the_whole_picture_leaves_no_background() -> None:
    assert "no clear subject found" in refused("0,0,200,150")


def test_masks_of_a_wrong_size_or_without_subject(tmp_path: Path) -> None:
    save_png(torch.ones(3, 75, 100), tmp_path / "small.png")
    assert "small.png: mask of 100 x 75 pixels for a picture of 200 x 150" in refused(str(tmp_path / "small.png"))
    save_png(torch.zeros(3, *SIZE), tmp_path / "black.png")
    assert "black.png" in refused(str(tmp_path / "black.png"))


# Boxes and shares looked at in pictures of the masks.
@pytest.mark.parametrize(
    ("name", "box", "share", "inside", "outside"),
    [
        ("wooden_bird.jpg", (108, 58, 642, 327), 0.13, [(440, 270), (180, 170), (580, 110)], [(418, 50), (600, 300)]),
        ("ladybird.jpg", (127, 150, 350, 327), 0.086, [(240, 190), (190, 260), (240, 270)], [(600, 60), (60, 230)]),
        ("kite.jpg", (179, 108, 359, 267), 0.069, [(230, 180), (320, 148)], [(60, 40), (320, 240)]),
    ],
)
@pytest.mark.parametrize("how", ["auto", "box"])
def test_the_subjects_of_the_samples(name, box, share, inside, outside, how) -> None:
    image = read_photo(SAMPLES / name).image
    shown = (box[0] - 15, box[1] - 15, box[2] + 15, box[3] + 15)
    found = by_colours(image, "auto" if how == "auto" else ",".join(map(str, shown)))
    assert found.box_xyxy == pytest.approx(box, abs=16)
    assert found.mask.mean().item() == pytest.approx(share, rel=0.15)
    assert all(found.mask[0, y, x] > 0.5 for x, y in inside)
    assert not any(found.mask[0, y, x] > 0.5 for x, y in outside)


@pytest.fixture(scope="module")
def both() -> Tensor:
    """A ladybird on the left, and a goldfish, which is larger, on the right."""
    return as_image(ladybird_and_goldfish())


@pytest.fixture(scope="module")
def numbered(both) -> list[Found]:
    return [find_subject(both, number) for number in ("1", "2")]


def test_a_number_is_stored_as_the_object_that_holds_a_point(both, numbered) -> None:
    goldfish, ladybird = numbered
    assert goldfish.objects == ladybird.objects
    assert [each.prompt.text for each in numbered] == [f"salient@{x:.0f},{y:.0f}" for x, y in goldfish.objects]
    assert goldfish.subject.box_xyxy == pytest.approx((439, 54, 692, 216), abs=6)
    assert ladybird.subject.box_xyxy == pytest.approx((78, 90, 209, 205), abs=6)
    for each in numbered:
        assert torch.equal(find_subject(both, each.prompt.text).subject.mask, each.subject.mask)
        assert find_subject(both, each.prompt.text).prompt == each.prompt


def test_auto_is_the_main_object_and_all_salient_every_one(both, numbered) -> None:
    auto, every = find_subject(both, "auto"), find_subject(both, "all-salient")
    assert (auto.prompt.text, every.prompt.text) == ("salient", "all-salient")
    assert torch.equal(auto.subject.mask, numbered[0].subject.mask)
    union = torch.maximum(*(each.subject.mask for each in numbered))
    assert overlap(every.subject, (union > 0.5).float()) > 0.95


@pytest.mark.parametrize(("spec", "number"), [("490,150", 0), ("50,80,220,210", 1)])
def test_points_and_boxes_name_one_and_stay_as_they_are(spec, number, both, numbered) -> None:
    found = find_subject(both, spec)
    assert (found.prompt.text, found.objects) == (spec, ())
    assert overlap(found.subject, (numbered[number].subject.mask > 0.5).float()) > 0.85


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("3", "--clip-subject 3: 2 found; give a number up to that, or a point --clip-subject x,y"),
        ("salient@5,5", "--clip-subject salient@5,5: no salient object is found there any more; point at it"),
        ("salient@900,5", "--clip-subject salient@900,5: outside the picture of 768 x 288 pixels"),
        ("500,10", "--clip-subject 500,10: plain ground there, no object; the nearest object is at "),
    ],
)
def test_what_names_none_of_them_is_said(spec, words, both) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        find_subject(both, spec, flag="--clip-subject")


@pytest.mark.parametrize("picture", [grey, gradient, noise])
def test_where_nothing_is_clear_a_picture_of_the_guess_is_named(picture) -> None:
    with pytest.raises(InputError, match=r"^--subject auto: no clear subject found; point at it with") as error:
        find_subject(as_image(picture()), "auto")
    guess = Path(re.search(r"\(see (.+)\)$", str(error.value))[1])
    with Image.open(guess) as drawn:
        assert drawn.size == (240, 180)


def test_other_segmenters_take_a_number_for_the_salient_object(both, numbered) -> None:
    assert torch.equal(segment(both, "2", by="grabcut").mask, numbered[1].subject.mask)


@pytest.mark.parametrize("name", ["2.png", "1,2.png", "./2", "./10,20", "salient@1,2.png"])
def test_a_mask_file_may_be_called_like_numbers(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    mask = disc(150, 40, 20)
    save_png(mask.expand(3, -1, -1), tmp_path / "mask.png")
    (tmp_path / "mask.png").rename(name)
    found = find_subject(scene(), name)
    assert (found.prompt.text, torch.equal(found.subject.mask, mask)) == (name, True)


def test_a_bare_number_is_no_file_even_where_one_is(both, numbered, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2").write_bytes(b"no picture")
    assert find_subject(both, "2").prompt == numbered[1].prompt
