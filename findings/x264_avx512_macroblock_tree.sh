#!/usr/bin/env bash
# libx264 (as PyAV ships it) encodes the same frames to different bytes on processors with AVX-512, on one thread.
#
# Behaviour. With the macroblock tree on (the default) the stream depends on what unrelated memory held, where the width
# in macroblocks (of 16 px) is no multiple of 8; rate control follows, so quantisers and sizes differ too (by up to 5 %
# on noise). With asm=AVX2, or with mbtree=0, the same frames are the same bytes.
#
# Shown by filling fresh memory with another byte before each encode (glibc's mallopt M_PERTURB); without that it comes
# and goes with what ran before in the process. Needs Linux with glibc and a processor with AVX-512.
#
# Seen (av 18.1.0, numpy 2.3.5, x264 core 165, AMD EPYC with AVX-512):
#     default, 300 x 650: 3 different of 8 [2866845, 2866879, 2880662]
#     default, 300 x 640: 1 different of 8 [2800312]     (40 macroblocks wide: a multiple of 8)
#     asm=AVX2, 300 x 650: 1 different of 8 [2866845]
#     mbtree=0, 300 x 650: 1 different of 8 [2587259]
#
# Exit: 0 as described, 1 the behaviour has changed, 2 it cannot be seen on this machine.
set -euo pipefail

if ! grep -qw avx512f /proc/cpuinfo 2>/dev/null; then
    echo "no AVX-512 here: it cannot be seen on this machine" >&2
    exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PY'
import ctypes
import hashlib
import io
import platform
import re
import sys

import av
import numpy as np

M_PERTURB, RUNS = -6, 8
libc = ctypes.CDLL(None)
if not hasattr(libc, "mallopt"):
    print("no glibc here: it cannot be seen on this machine", file=sys.stderr)
    sys.exit(2)


def encode(pictures, params):
    film = io.BytesIO()
    with av.open(film, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=12, options={"crf": "17", "x264-params": params})
        stream.pix_fmt, (rows, stream.width) = "yuv420p", pictures[0].shape
        stream.height = rows * 2 // 3
        stream.codec_context.thread_count = 1
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p")))
        container.mux(stream.encode())
    return film.getvalue()


def films(height, width, params):
    """The different files of RUNS encodes of the same 16 frames of noise: hash -> bytes."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (height * 3 // 2, width), dtype=np.uint8) for _ in range(16)]
    found = {}
    for index in range(RUNS):
        libc.mallopt(M_PERTURB, 1 + 37 * index % 255)
        film = encode(pictures, params)
        found[hashlib.sha256(film).hexdigest()] = len(film)
    libc.mallopt(M_PERTURB, 0)
    version = re.search(rb"x264 - core \d+[^-]*", film)
    return found, version.group().decode().strip() if version else "?"


expected = [(300, 650, "", False), (300, 640, "", True), (300, 650, "asm=AVX2", True), (300, 650, "mbtree=0", True)]
changed = False
for height, width, params, one in expected:
    found, version = films(height, width, params)
    if not params and not one:
        print(f"python {platform.python_version()}, av {av.__version__}, numpy {np.__version__}, {version}")
    print(f"{params or 'default'}, {height} x {width}: {len(found)} different of {RUNS} {sorted(found.values())}")
    changed |= (len(found) == 1) != one
print("the behaviour has changed" if changed else "as described")
sys.exit(changed)
PY
