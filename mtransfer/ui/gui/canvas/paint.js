// What the canvas shows: the photo, its live preview, the object's outline, handles and pins.

import { forward, handles, middle, outline, pinPlaces, way } from "/mtransfer/canvas/shape.js";

const INK = "#ff00aa", PAPER = "#ffffff";

export function paint(view, look) {
  const { photo } = look, { canvas } = view, context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  view.onto(context);
  context.drawImage(photo.picture, 0, 0, photo.width, photo.height);
  if (look.before) return;
  if (look.made) {
    const [x, y, w, h] = look.made.box, [width, height] = look.made.size;
    const kx = photo.width / width, ky = photo.height / height;
    context.drawImage(look.made.bitmap, x * kx, y * ky, w * kx, h * ky);
  }
  if (look.tinted) look.objects.forEach((object) => tint(context, object, photo));
  if (look.box) { context.strokeStyle = INK; context.lineWidth = look.unit; context.strokeRect(...look.box); }
  if (look.cross) cross(context, look.cross, look.unit);
  for (const each of look.strokes) stroke(context, each.points, each.radius);
  if (look.ring) ring(context, look.ring, look);
  look.objects.forEach((object, index) => frame(context, object, look, index === look.active));
  look.objects.forEach((object) => { if (object.motion.path.length) path(context, way(object), look.unit); });
  if (look.label) label(context, look);
}

function tint(context, object, photo) {
  const image = object.mask.picture;
  if (!image) return;
  const [ax, ay] = forward(object, [0, 0]), [bx, by] = forward(object, [1, 0]), [cx, cy] = forward(object, [0, 1]);
  context.save();
  context.transform(bx - ax, by - ay, cx - ax, cy - ay, ax, ay);
  context.drawImage(image, 0, 0, photo.width, photo.height);
  context.restore();
}

function stroke(context, points, radius) {
  context.save();
  context.strokeStyle = "rgba(255, 0, 170, 0.5)";
  context.lineWidth = 2 * radius;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  points.forEach(([x, y], index) => index ? context.lineTo(x, y) : context.moveTo(x, y));
  if (points.length === 1) context.lineTo(points[0][0] + 0.01, points[0][1]);
  context.stroke();
  context.restore();
}

function path(context, points, unit) {
  points.slice(1).forEach((point, index) => line(context, points[index], point, 2 * unit));
  for (const point of points) dot(context, point, 3, unit, true);
}

function cross(context, [x, y], unit) {
  for (const [dx, dy] of [[14 * unit, 0], [0, 14 * unit]]) {
    context.strokeStyle = PAPER;
    context.lineWidth = 4 * unit;
    context.beginPath();
    context.moveTo(x - dx, y - dy);
    context.lineTo(x + dx, y + dy);
    context.stroke();
    line(context, [x - dx, y - dy], [x + dx, y + dy], 2 * unit);
  }
}

// What a drag has come to, in words beside the object.
function label(context, { label: words, objects, active, unit }) {
  const [x, y] = middle(objects[active]), size = 14 * unit;
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.lineWidth = 4 * unit;
  context.strokeStyle = PAPER;
  context.strokeText(words, x, y + size / 3);
  context.fillStyle = "#c2007e";
  context.fillText(words, x, y + size / 3);
}

function ring(context, [x, y], { radius, unit }) {
  context.strokeStyle = INK;
  context.lineWidth = 1.5 * unit;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
}

function frame(context, object, look, active) {
  const { unit } = look;
  if (look.tool === "move" || !active) {
    context.lineWidth = unit * (active ? 1.5 : 1);
    context.setLineDash([5 * unit, 4 * unit]);
    context.strokeStyle = INK;
    context.beginPath();
    outline(object).forEach(([x, y], index) => index ? context.lineTo(x, y) : context.moveTo(x, y));
    context.closePath();
    context.stroke();
    context.setLineDash([]);
  }
  if (!active) return;
  if (look.tool === "move") {
    for (const handle of handles(object, unit)) {
      if (handle.from) line(context, handle.from, handle.at, unit);
      dot(context, handle.at, handle.kind === "rotate" ? 7 : 5.5, unit, handle.kind !== "scale");
    }
  }
  pinPlaces(object).forEach((pin, index) => {
    line(context, pin.at, pin.to, 2 * unit);
    dot(context, pin.at, 3, unit, true);
    dot(context, pin.to, index === look.pin ? 7.5 : 6, unit, true, index === look.pin ? INK : PAPER);
  });
}

function line(context, from, to, width) {
  context.strokeStyle = INK;
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

function dot(context, [x, y], size, unit, round, fill = PAPER) {
  const radius = size * unit;
  context.fillStyle = fill;
  context.strokeStyle = INK;
  context.lineWidth = 1.5 * unit;
  context.beginPath();
  if (round) context.arc(x, y, radius, 0, 2 * Math.PI);
  else context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
  context.fill();
  context.stroke();
}
