import pytest
import torch
from torch import Tensor

from mtransfer.errors import InputError
from mtransfer.media.photo.photo import read_photo, save_png
from mtransfer.subject.subject import mask_hash, subject_from_mask, together, with_mask

SIZE = (60, 80)


def grey() -> Tensor:
    return torch.full((3, *SIZE), 0.5)


def square(left: int = 30) -> Tensor:
    mask = torch.zeros(1, *SIZE)
    mask[:, 20:40, left : left + 20] = 1
    return mask


def test_an_empty_mask_is_no_subject() -> None:
    with pytest.raises(InputError, match="mask is empty; point at the subject with --subject x,y"):
        subject_from_mask(grey(), torch.full((1, *SIZE), 0.5))


def test_several_subjects_are_one_with_the_box_of_all(tmp_path) -> None:
    image, masks = grey(), (square(10), 0.8 * square(25))
    one, other = (subject_from_mask(image, mask) for mask in masks)
    save_png(image, tmp_path / "photo.png")
    photo = read_photo(tmp_path / "photo.png")
    both = together(photo, (one, other))
    assert both.box_xyxy == (10, 20, 45, 40)
    assert torch.equal(both.mask, torch.maximum(*masks))
    assert together(photo, (one,)) is one


def test_a_mask_tints_the_subject_alone() -> None:
    tinted = with_mask(grey(), square())
    assert tinted.dtype == torch.float32
    outside = (square() == 0).expand(3, -1, -1)
    torch.testing.assert_close(tinted[outside], grey()[outside], atol=1 / 255, rtol=0)
    red, green, blue = tinted[:, 30, 40]
    assert red == blue
    assert red - green > 0.4


def test_a_soft_mask_counts_from_its_half() -> None:
    torch.testing.assert_close(with_mask(grey(), 0.4 * square()), grey(), atol=1 / 255, rtol=0)
    assert torch.equal(with_mask(grey(), 0.6 * square()), with_mask(grey(), square()))


def test_the_hash_of_a_mask_is_of_its_shape_alone() -> None:
    assert mask_hash(0.6 * square()) == mask_hash(square())
    assert mask_hash(square() * (1 - 1e-6)) == mask_hash(square())
    assert mask_hash(square()) != mask_hash(square(33))
    large = torch.zeros(1, 600, 800)
    large[:, 200:400, 300:500] = 1
    speck = large.clone()
    speck[:, 10, 10] = 1
    assert mask_hash(speck) == mask_hash(large) != mask_hash(large.transpose(1, 2))
