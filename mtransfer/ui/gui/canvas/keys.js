// The editor's keys, on the canvas; undo and redo from anywhere but a field of words.

import { bounded } from "/mtransfer/canvas/shape.js";

const TOOLS = { s: "select", b: "brush", e: "erase", m: "move", p: "pin", f: "path" };
const CROSS_PX = 12;  // of the screen, by which the crosshair goes

const round = (value, places = 2) => Math.round(value * 10 ** places) / 10 ** places;

function change(editor, key, step) {
  const motion = editor.object.motion, by = {
    ArrowLeft: ["dx", -step], ArrowRight: ["dx", step], ArrowUp: ["dy", -step], ArrowDown: ["dy", step],
    "[": ["rotate", step], "]": ["rotate", -step],
  }[key];
  const factor = { "+": 1.05, "=": 1.05, "-": 1 / 1.05 }[key];
  if (by) motion[by[0]] = round(bounded(by[0], motion[by[0]] + by[1]));
  else if (factor) motion.scale = round(bounded("scale", motion.scale * factor), 3);
  else return false;
  editor.commit();
  return true;
}

// A crosshair for who has no mouse: arrows move it, Enter is a click there.
function cross(editor, event) {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (editor.tool !== "select" || !(way || event.key === "Enter")) return false;
  const { view } = editor, at = editor.cross || [editor.photo.width / 2, editor.photo.height / 2];
  if (event.key === "Enter") editor.point(at, at, event);
  else {
    const step = CROSS_PX * view.unit * (event.shiftKey ? 4 : 1);
    editor.cross = view.inside([at[0] + way[0] * step, at[1] + way[1] * step]);
  }
  editor.show();
  return true;
}

function pressed(editor, event) {
  if (!editor.photo || event.ctrlKey || event.metaKey) return;
  const letter = event.key.toLowerCase();
  if (cross(editor, event)) { /* done */ }
  else if (editor.object && change(editor, event.key, event.shiftKey ? 10 : 1)) { /* done */ }
  else if (event.key === "Escape") editor.back();
  else if (event.key === "Delete") editor.remove();
  else if (event.key === "n" || event.key === "N") editor.next();
  else if (event.key === "0") editor.whole();
  else if (TOOLS[letter]) editor.use(TOOLS[letter]);
  else return;
  event.preventDefault();
}

function anywhere(editor, event) {
  const letter = event.key.toLowerCase(), writes = event.target.closest("textarea, input[type=text]");
  if (!(event.ctrlKey || event.metaKey) || writes || !editor.inSight || !["z", "y"].includes(letter)) return;
  event.preventDefault();
  if (letter === "y" || event.shiftKey) editor.redo();
  else editor.undo();
}

export function keys(editor) {
  editor.part.canvas.addEventListener("keydown", (event) => pressed(editor, event));
  document.addEventListener("keydown", (event) => anywhere(editor, event));
}
