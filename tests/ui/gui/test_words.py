"""Lines of the command line as the page says them."""

import pytest

from mtransfer.ui.gui.words import NOTHING_SAID, page_words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("warning: 30% leaves it; a smaller --strength keeps it in", "30% leaves it; a smaller strength keeps it in"),
        ("shadow: found, so it moves along; --shadow keep leaves it", "shadow: found, so it moves along"),
        ("frames: 0:9 of 24, the largest motion; --pair A:B", "frames: 0:9 of 24, the largest motion; frames A:B"),
        (
            "selected auto: nothing clear; point with selected x,y (see /a/b.png)",
            "Auto: nothing clear; point with a click",
        ),
        ("selected 12.0,3.5: plain ground there, no object", "plain ground there, no object"),
        ("--clip-subject: 1 for 2 of the photo", "the clip's mark: 1 for 2 of the photo"),
        ("--model x: no such folder", NOTHING_SAID),
        ("--subject m.png: redrawn; --set sampler.snap_mask=false keeps it", "the photo's mark m.png: redrawn"),
    ],
)
def test_options_are_said_as_the_page_calls_them_or_not_at_all(line, words) -> None:
    assert page_words(line) == words
