// How long a film will take, before it is asked for: by what earlier ones of this visit took, or by a usual machine.

import { get } from "/mtransfer/canvas/net.js";

const MOST_FRAMES = 300;
const USUAL_S = { draft: 0.6, fast: 2.5, best: 6 };  // a frame, with reading it, of a photo of half a megapixel
const seen = {};

async function learn() {
  for (const run of await get("runs")) {
    if (run.kind !== "animate" || seen[run.preset]) continue;
    const all = Object.values(run.seconds).reduce((sum, each) => sum + each, 0);
    seen[run.preset] = all / run.metrics.frames;
  }
}

document.addEventListener("mtransfer-made", () => learn().catch(() => {}));

function frames(range, most) {
  const [a, b, step] = range.split(":").map(Number);
  return [a, b].every(Number.isFinite) && b > a ? Math.ceil((b - a) / (step || 1)) : range ? null : Math.min(most, MOST_FRAMES);
}

const inWords = (seconds) => seconds < 90 ? `${Math.max(5, 5 * Math.round(seconds / 5))} s` : `${Math.round(seconds / 60)} min`;

// A line on the frames that are left to be found, or that are given; none where they cannot be counted here.
export function howLong({ clip, photo }, range, loop, preset) {
  if (!clip) return "";
  const count = frames(range, clip.frames);
  if (!count) return "";
  const size = photo ? Math.sqrt(Math.max(1, photo.width * photo.height / 5e5)) : 1;
  const each = seen[preset] || (USUAL_S[preset] || USUAL_S.fast) * size;
  const all = range ? `${count} frames` : `No frames given: all ${count} of the shot at most`;
  return `${all}, about ${inWords(count * each)} at preset ${preset}.`;
}
