"""What jobs say, in the page's words: they speak of the command line's options, which the page does not have."""

import re

from mtransfer.log import WARNING

LABELS = {  # of an option, where the page has it
    "--clip-subject x,y": "a click in the clip",
    "--clip-subject": "the clip's mark",
    "--subject x,y": "a click on it",
    "--subject": "the photo's mark",
    "--no-mirror": "mirror no",
    "--align": "fit",
    "--pair": "frames",
    "--pin": "pins",
    "selected auto": "Auto",
    "selected x,y": "a click",
    "--clip-subject-at": "the mark's frame",
}
SAME = ("frames", "strength", "preset", "prompt", "seed", "turn", "mirror", "camera", "reference", "loop")
SAME_FOR_PROGRAMS = ("translate", "rotate", "scale", "stretch")
FLAG = re.compile(r"--[a-z][a-z-]*|\bsampler\.[a-z_]+")
POINT = re.compile(r"^selected [\d.,]+: ")
GUESS = re.compile(r" \(see [^)]*\)")  # a picture on the server
CLAUSE = "; "
NOTHING_SAID = "this cannot be done here; try another motion, photo or clip"


def page_words(line: str) -> str:
    """A line without options of the command line: those of the page by its words, clauses about others left out."""
    plain = POINT.sub("", GUESS.sub("", line.removeprefix(WARNING)))
    for name in sorted(LABELS, key=len, reverse=True):
        plain = re.sub(rf"{re.escape(name)}(?![a-z-])", LABELS[name], plain)
    for name in (*SAME, *SAME_FOR_PROGRAMS):
        plain = re.sub(rf"--{name}(?![a-z-])", name, plain)
    kept = [clause for clause in plain.split(CLAUSE) if not FLAG.search(clause)]
    return CLAUSE.join(kept) or NOTHING_SAID
