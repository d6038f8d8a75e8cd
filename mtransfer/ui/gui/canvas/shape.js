// Where an object's points come to: scaled, stretched and rotated about its centroid, then translated. As field.py.

export const STILL = { dx: 0, dy: 0, rotate: 0, scale: 1, sx: 1, sy: 1, pins: [] };

export const fresh = () => ({ ...STILL, pins: [] });

export function isStill(motion) {
  return ["dx", "dy", "rotate", "scale", "sx", "sy"].every((key) => motion[key] === STILL[key])
    && motion.pins.every((pin) => !pin[2] && !pin[3]);
}

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

// Corners scale, the middles of sides stretch, the knob above the top turns. `unit` is a screen pixel in the photo's.
export function handles(object, unit) {
  const [x0, y0, x1, y1] = object.mask.box, xm = (x0 + x1) / 2, ym = (y0 + y1) / 2;
  const at = (x, y) => forward(object, [x, y]);
  const [top, low] = [at(xm, y0), at(xm, y1)];
  const length = Math.hypot(top[0] - low[0], top[1] - low[1]) || 1, out = 30 * unit / length;
  return [
    { kind: "rotate", at: [top[0] + (top[0] - low[0]) * out, top[1] + (top[1] - low[1]) * out], from: top },
    ...[[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map(([x, y]) => ({ kind: "scale", at: at(x, y) })),
    ...[[x0, ym], [x1, ym]].map(([x, y]) => ({ kind: "sx", at: at(x, y) })),
    ...[[xm, y0], [xm, y1]].map(([x, y]) => ({ kind: "sy", at: at(x, y) })),
  ];
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

const round = (value, places = 2) => Math.round(value * 10 ** places) / 10 ** places;
const between = (value, low, high) => Math.min(high, Math.max(low, value));

// The motion once a gesture that began at `from`, with the motion `begun`, has come to `to`.
export function dragged(kind, object, begun, from, to, even = false) {
  const motion = { ...begun }, [cx, cy] = middle({ motion: begun, mask: object.mask });
  const a = [from[0] - cx, from[1] - cy], b = [to[0] - cx, to[1] - cy];
  if (kind === "move") {
    motion.dx = round(begun.dx + to[0] - from[0]);
    motion.dy = round(begun.dy + to[1] - from[1]);
  } else if (kind === "rotate") {
    const angle = begun.rotate - (Math.atan2(b[1], b[0]) - Math.atan2(a[1], a[0])) * 180 / Math.PI;
    const whole = even ? Math.round(angle / 15) * 15 : angle;
    motion.rotate = round(((whole + 180) % 360 + 360) % 360 - 180);
  } else if (kind === "scale") {
    motion.scale = round(between(begun.scale * Math.hypot(...b) / (Math.hypot(...a) || 1), 0.05, 20), 3);
  } else {
    const [cos, sin] = turn(begun);
    const along = ([x, y]) => kind === "sx" ? cos * x - sin * y : sin * x + cos * y;
    motion[kind] = round(between(begun[kind] * Math.abs(along(b)) / (Math.abs(along(a)) || 1), 0.05, 20), 3);
  }
  return motion;
}
