import subprocess
import sys

import pytest

from mtransfer.errors import InputError
from mtransfer.subject.prompt import (
    WORDS,
    is_file,
    object_number,
    parse_numbers,
    require_inside,
    resolve_word,
    salient_at,
    salient_point,
    specs_of,
)


def test_several_subjects_are_parted_by_semicolons() -> None:
    assert specs_of("10,20; auto ;mask.png") == ["10,20", "auto", "mask.png"]


@pytest.mark.parametrize("subject", [*WORDS, "10,20", "1, 2,30,40", "-1.5,2e3", "2", "salient@10,20.5"])
def test_words_and_numbers_are_no_file(subject) -> None:
    assert not is_file(subject)


@pytest.mark.parametrize(
    "subject", ["mask.png", "automatic.png", "a,b.png", "1,2.png", "2.png", "./2", "salient@1,2.png", ""]
)
def test_anything_else_is_a_mask_file(subject) -> None:
    assert is_file(subject)


def test_a_number_names_an_object_and_is_no_point() -> None:
    assert [object_number(text) for text in ("1", "12", "0", "-1", "1.5", "1,2", "auto", "")] == [1, 12, *[None] * 6]
    assert parse_numbers("2", "--subject") == []


def test_an_object_is_stored_by_a_point_of_it() -> None:
    assert salient_at((10.4, 20.6)) == "salient@10,21"
    assert salient_point("salient@10,20.5") == (10, 20.5)
    assert [salient_point(text) for text in ("salient", "salient@", "salient@1", "salient@a,b", "10,20")] == [None] * 5


def test_auto_is_the_alpha_channel_where_there_is_one() -> None:
    assert [resolve_word("auto", has_alpha=has) for has in (True, False)] == ["alpha", "salient"]
    assert resolve_word("10,20", has_alpha=True) == "10,20"


def test_numbers_are_a_point_or_a_box() -> None:
    assert parse_numbers("10, 20.5", "--subject") == [10, 20.5]
    assert parse_numbers("1,2,3,4", "--subject") == [1, 2, 3, 4]
    assert parse_numbers("mask.png", "--subject") == []
    with pytest.raises(InputError, match=r"^--clip-subject 1,2,3: a point is x,y and a box x0,y0,x1,y1$"):
        parse_numbers("1,2,3", "--clip-subject")


@pytest.mark.parametrize("numbers", [[201, 5], [5, -1], [float("nan"), 5], [9, 9, 9, 12], [0, 0, 200, 151]])
def test_what_lies_outside_or_is_empty_is_named(numbers) -> None:
    with pytest.raises(InputError, match=r"^--subject \?: outside the picture of 200 x 150 pixels, or an empty box$"):
        require_inside(numbers, (150, 200), "--subject ?")


def test_the_borders_are_inside() -> None:
    require_inside([0, 0, 200, 150], (150, 200), "")


@pytest.mark.parametrize("module", ["prompt", "grabcut", "saliency", "prompted_object"])
def test_no_torch_is_needed(module) -> None:
    script = f"import sys; import mtransfer.subject.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
