#!/usr/bin/env bash
# decord2 gives other frames of an MPEG-TS than those asked for; PyAV, decoding forward, gives the right ones.
#
# Behaviour. Of a transport stream whose frames carry their number, `reader[0]` is the second key frame, and the last
# frame is repeated for as many as are missing at the start. The same pictures in Matroska come out right.
#
# Seen (decord2 3.4.0, av 18.1.0, numpy 2.3.5, 20 frames, a key frame every 6):
#     clip.mkv PyAV right: True decord: [0, 1, 2, ... 18, 19] asked for frame 0 alone: 0
#     clip.ts PyAV right: True decord: [6, 7, 8, ... 18, 19, 19, 19, 19, 19, 19, 19] asked for frame 0 alone: 6
#
# Exit: 0 as described, 1 the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 decord2==3.4.0 numpy==2.3.5
cd "$folder"
timeout 120 "$folder/venv/bin/python" - <<'PY'
import sys

import av
import decord
import numpy as np

COUNT, STEP = 20, 11


def encode(path):
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "6", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        for number in range(COUNT):
            grey = np.full((64, 128, 3), STEP * (number + 1), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())


def number(picture):
    return round(float(np.mean(picture)) / STEP) - 1


def by_pyav(path):
    with av.open(path) as container:
        return [number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def by_decord(path):
    reader = decord.VideoReader(path, num_threads=1)
    return [number(reader[index].asnumpy()) for index in range(len(reader))]


def first_by_decord(path):
    return number(decord.VideoReader(path, num_threads=1)[0].asnumpy())


found = {}
for path in ("clip.mkv", "clip.ts"):
    encode(path)
    found[path] = by_pyav(path) == list(range(COUNT)), by_decord(path), first_by_decord(path)
    print(path, "PyAV right:", found[path][0], "decord:", found[path][1], "asked for frame 0 alone:", found[path][2])
right = list(range(COUNT))
as_described = found["clip.mkv"] == (True, right, 0) and found["clip.ts"][0] and found["clip.ts"][1] != right
sys.exit(0 if as_described else 1)
PY
