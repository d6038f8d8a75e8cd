import subprocess
import sys

import pytest

from mtransfer.errors import InputError
from mtransfer.subject.prompt import WORDS, SubjectPrompt, join_prompts, joined_options, parse_prompts, split_prompts


def test_several_subjects_are_parted_by_semicolons() -> None:
    assert [each.text for each in parse_prompts("10,20; auto ;mask.png")] == ["10,20", "auto", "mask.png"]


@pytest.mark.parametrize("names", [["a;b.png"], ["a;b.png", "10,20"], [";", "c.png"], ["mask.png"]])
def test_a_files_name_may_hold_semicolons(names) -> None:
    assert split_prompts(join_prompts(names)) == names


def test_a_file_that_is_there_is_one_subject(tmp_path) -> None:
    path = tmp_path / "a;b.png"
    assert len(parse_prompts(str(path))) == 2
    path.touch()
    (prompt,) = parse_prompts(str(path))
    assert (prompt.kind, prompt.path) == ("file", path)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *((word, "word") for word in WORDS),
        *(("10,20", "point"), ("1, 2,30,40", "box"), ("-1.5,2e3", "point"), ("2", "number")),
        *(("salient@10,20.5", "salient_at"), ("1,2,3", "malformed"), ("0", "malformed"), ("-1", "malformed")),
        *((name, "file") for name in ("mask.png", "automatic.png", "a,b.png", "1,2.png", "2.png", "./2", "")),
        *((name, "file") for name in ("salient@1,2.png", "salient@", "salient@1", "salient@a,b")),
    ],
)
def test_what_is_a_word_numbers_or_a_file(text, kind) -> None:
    assert SubjectPrompt.parse(text).kind == kind


def test_numbers_are_read() -> None:
    assert [SubjectPrompt.parse(text).number for text in ("1", "12", "1,2", "auto")] == [1, 12, None, None]
    assert SubjectPrompt.parse("10, 20.5").numbers == (10, 20.5)
    assert SubjectPrompt.parse("salient@10,20.5").numbers == (10, 20.5)


def test_an_object_is_stored_by_a_point_of_it() -> None:
    assert SubjectPrompt.at_salient((10.4, 20.6)) == SubjectPrompt("salient@10,21", "salient_at", (10, 21))


def test_auto_is_the_alpha_channel_where_there_is_one() -> None:
    auto, point = SubjectPrompt.parse("auto"), SubjectPrompt.parse("10,20")
    assert [auto.resolved(has_alpha=has).text for has in (True, False)] == ["alpha", "salient"]
    assert point.resolved(has_alpha=True) == point


def test_other_counts_of_numbers_are_refused() -> None:
    with pytest.raises(InputError, match=r"^--clip-subject 1,2,3: a point is x,y and a box x0,y0,x1,y1$"):
        SubjectPrompt.parse("1,2,3").require_inside((150, 200), "--clip-subject")


@pytest.mark.parametrize("text", ["201,5", "5,-1", "nan,5", "9,9,9,12", "0,0,200,151", "salient@5,151"])
def test_what_lies_outside_or_is_empty_is_named(text) -> None:
    with pytest.raises(InputError, match=rf"^--subject {text}: outside the picture of 200 x 150 pixels"):
        SubjectPrompt.parse(text).require_inside((150, 200), "--subject")


@pytest.mark.parametrize("text", ["0,0,200,150", "mask.png", "auto", "3"])
def test_the_borders_are_inside_and_words_lie_nowhere(text) -> None:
    SubjectPrompt.parse(text).require_inside((150, 200), "")


@pytest.mark.parametrize("module", ["prompt", "grabcut", "detection.saliency", "detection.prompted_object"])
def test_no_torch_is_needed(module) -> None:
    script = f"import sys; import mtransfer.subject.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.mark.parametrize(
    ("given", "text"), [(["auto"], "auto"), (["1;2"], "1;2"), (["1", "2"], "1;2"), (["3,4;5", "a.png"], "3,4;5;a.png")]
)
def test_an_option_given_again_names_one_more(given: list[str], text: str) -> None:
    assert joined_options(given) == text
