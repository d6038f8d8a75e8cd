// Where an object's points come to: scaled, stretched and rotated about its centroid, then translated. As field.py.

export const STILL = { dx: 0, dy: 0, rotate: 0, scale: 1, sx: 1, sy: 1, pins: [], path: [] };
export const BOUNDS = {
  dx: [-20000, 20000], dy: [-20000, 20000], rotate: [-3600, 3600], scale: [0.05, 20], sx: [0.05, 20], sy: [0.05, 20],
};
const SNAP_DEG = 15;

export const fresh = () => ({ ...STILL, pins: [], path: [] });

export function isStill(motion) {
  return ["dx", "dy", "rotate", "scale", "sx", "sy"].every((key) => motion[key] === STILL[key])
    && motion.pins.every((pin) => !pin[2] && !pin[3]);
}

const round = (value, places = 2) => Math.round(value * 10 ** places) / 10 ** places;
export const bounded = (name, value) => Math.min(BOUNDS[name][1], Math.max(BOUNDS[name][0], value));

function turn(motion) {
  const angle = motion.rotate * Math.PI / 180;
  return [Math.cos(angle), Math.sin(angle)];
}

export function forward({ motion, mask }, [x, y]) {
  const [cos, sin] = turn(motion), [cx, cy] = mask.centre;
  const ox = (x - cx) * motion.scale * motion.sx, oy = (y - cy) * motion.scale * motion.sy;
  return [cos * ox + sin * oy + cx + motion.dx, cos * oy - sin * ox + cy + motion.dy];
}

export function backward({ motion, mask }, [x, y]) {
  const [cos, sin] = turn(motion), [cx, cy] = mask.centre;
  const ox = x - cx - motion.dx, oy = y - cy - motion.dy;
  return [(cos * ox - sin * oy) / (motion.scale * motion.sx) + cx, (sin * ox + cos * oy) / (motion.scale * motion.sy) + cy];
}

export function middle({ motion, mask }) { return [mask.centre[0] + motion.dx, mask.centre[1] + motion.dy]; }

// Corners scale, the middles of sides stretch, the knob above the top turns. `unit` is a screen pixel in the photo's,
// `hold` the place in the mask that stays where it is.
export function handles(object, unit) {
  const [x0, y0, x1, y1] = object.mask.box, xm = (x0 + x1) / 2, ym = (y0 + y1) / 2;
  const at = (x, y) => forward(object, [x, y]);
  const [top, low] = [at(xm, y0), at(xm, y1)];
  const length = Math.hypot(top[0] - low[0], top[1] - low[1]) || 1, out = 30 * unit / length;
  const handle = (kind, x, y) => ({ kind, at: at(x, y), hold: [x0 + x1 - x, y0 + y1 - y] });
  return [
    { kind: "rotate", at: [top[0] + (top[0] - low[0]) * out, top[1] + (top[1] - low[1]) * out], from: top },
    ...[[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map(([x, y]) => handle("scale", x, y)),
    ...[[x0, ym], [x1, ym]].map(([x, y]) => handle("sx", x, y)),
    ...[[xm, y0], [xm, y1]].map(([x, y]) => handle("sy", x, y)),
  ];
}

// Where the middle goes in a film: from rest by the poses of its path to where it stands.
export function way({ motion, mask }) {
  const [x, y] = mask.centre;
  return [[0, 0], ...motion.path, [motion.dx, motion.dy]].map(([dx, dy]) => [x + dx, y + dy]);
}

// So many places, evenly along a line that was drawn.
export function evenly(points, count) {
  const far = [0];
  for (let index = 1; index < points.length; index += 1) {
    far.push(far[index - 1] + Math.hypot(points[index][0] - points[index - 1][0], points[index][1] - points[index - 1][1]));
  }
  const whole = far[far.length - 1];
  return Array.from({ length: count }, (_, number) => {
    const at = whole * (number + 1) / (count + 1), index = Math.max(1, far.findIndex((each) => each >= at));
    const share = (at - far[index - 1]) / (far[index] - far[index - 1] || 1);
    return [0, 1].map((axis) => points[index - 1][axis] + share * (points[index][axis] - points[index - 1][axis]));
  });
}

export function outline(object) {
  const [x0, y0, x1, y1] = object.mask.box;
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map((point) => forward(object, point));
}

export function holds(object, point) {
  const [x, y] = backward(object, point), [x0, y0, x1, y1] = object.mask.box;
  return x >= x0 && x <= x1 && y >= y0 && y <= y1;
}

export function pinPlaces(object) {
  return object.motion.pins.map(([x, y, dx, dy]) => {
    const at = forward(object, [x, y]);
    return { at, to: [at[0] + dx, at[1] + dy] };
  });
}

// The motion once a drag has come to `to`. The drag knows its kind, where it began (`from`), the motion then (`begun`),
// what stays (`hold`) and how far it has turned; shift snaps, alt keeps the object's centre in the place of `hold`.
export function dragged(drag, object, to, { shift, alt }) {
  if (drag.kind === "move" || drag.kind === "path") return moved(drag, to, shift);
  if (drag.kind === "rotate") return turned(drag, object, to, shift);
  return sized(drag, object, to, alt ? object.mask.centre : drag.hold);
}

function moved({ begun, from }, to, shift) {
  const by = [to[0] - from[0], to[1] - from[1]];
  if (shift) by[Math.abs(by[0]) < Math.abs(by[1]) ? 0 : 1] = 0;
  return { ...begun, dx: round(bounded("dx", begun.dx + by[0])), dy: round(bounded("dy", begun.dy + by[1])) };
}

// Turns are counted: once round is 360 degrees and not none.
function turned(drag, object, to, shift) {
  const [cx, cy] = middle({ motion: drag.begun, mask: object.mask });
  const angle = ([x, y]) => Math.atan2(y - cy, x - cx) * 180 / Math.PI;
  const step = angle(to) - angle(drag.last || drag.from);
  drag.last = to;
  drag.turned = (drag.turned || 0) - ((step + 540) % 360 - 180);
  const whole = drag.begun.rotate + drag.turned;
  return { ...drag.begun, rotate: round(bounded("rotate", shift ? Math.round(whole / SNAP_DEG) * SNAP_DEG : whole)) };
}

function sized({ kind, begun, from }, object, to, hold) {
  const own = { mask: object.mask, motion: begun }, stays = forward(own, hold), [cos, sin] = turn(begun);
  const a = [from[0] - stays[0], from[1] - stays[1]], b = [to[0] - stays[0], to[1] - stays[1]];
  const along = { scale: a, sx: [cos, -sin], sy: [sin, cos] }[kind];
  const far = (v) => v[0] * along[0] + v[1] * along[1];
  const factor = far(b) / (far(a) || 1), motion = { ...begun };
  motion[kind] = round(bounded(kind, begun[kind] * factor), 3);
  const now = forward({ mask: object.mask, motion }, hold);
  motion.dx = round(motion.dx + stays[0] - now[0]);
  motion.dy = round(motion.dy + stays[1] - now[1]);
  return motion;
}
