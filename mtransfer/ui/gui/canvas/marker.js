// A picture of Transfer or Animate on which is marked what moves, by the editor's own finder: click, box, brush, mask.

import { choices, parts, shownFor } from "/mtransfer/canvas/elements.js";
import { Finder, wayOf } from "/mtransfer/canvas/finder.js";
import { paint } from "/mtransfer/canvas/paint.js";
import { listen } from "/mtransfer/canvas/pointers.js";
import { fresh } from "/mtransfer/canvas/shape.js";
import { View } from "/mtransfer/canvas/view.js";

const TALLEST = 0.46;  // of the window

export class Marker {
  // `of()` names the picture as the server knows it, `told(line)` says what went wrong, `changed()` that a mark has.
  constructor(root, { of, told, changed }) {
    Object.assign(this, { root, of, told, changed, part: parts(root), tool: "select", how: "new" });
    this.picture = null; this.size = null; this.mark = null; this.gesture = null; this.cursor = null; this.cross = null;
    this.view = new View(this.part.canvas);
    this.finder = new Finder({
      of, object: () => this.mark, put: (mask) => this.put({ mask, motion: fresh() }), attempt: (make) => this.attempt(make),
      show: () => this.show(),
    });
    listen(this.part.canvas, this.view, {
      down: (at) => this.down(at), move: (at) => this.moved(at), up: (event) => this.up(event),
      cancel: () => { this.gesture = null; this.show(); }, hover: (at) => { this.cursor = at; this.show(); },
      changed: () => this.show(),
    });
    this.choose = choices(root.querySelector(".mt-tools"), (tool) => { this.tool = tool; this.show(); });
    this.chooseHow = choices(root.querySelector(".mt-how"), (how) => { this.how = how; this.show(); });
    this.part.unmark.onclick = () => this.put(null);
    this.part.mask.onchange = () => { const [file] = this.part.mask.files; if (file && this.size) this.finder.give(file); this.part.mask.value = ""; };
    this.part.canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.fit()).observe(this.part.view);
    this.show();
  }

  async attempt(make) {
    try { this.told(""); this.root.classList.add("mt-busy"); await make(); } catch (error) { this.told(error.message); }
    finally { this.root.classList.remove("mt-busy"); }
  }

  // Another picture, `size` [width, height] in its own pixels, and its mark or none.
  hold(picture, size, mark) {
    const same = this.size && this.size[0] === size[0] && this.size[1] === size[1];
    this.picture = picture; this.size = size; this.mark = mark; this.cross = null;
    if (!same) this.view.hold(size);
    this.fit();
  }

  put(mark) { this.mark = mark; this.changed(mark); this.show(); return mark; }

  get radius() { return Number(this.part.radius.value) * this.view.unit; }

  down(at) {
    const from = this.view.inside(at);
    this.part.canvas.focus({ preventScroll: true });
    this.gesture = { from, to: from, points: [from] };
    this.show();
  }

  moved(at) {
    this.cursor = at;
    this.gesture.to = this.view.inside(at);
    this.gesture.points.push(this.gesture.to);
    this.show();
  }

  up(event) {
    const { from, to, points } = this.gesture;
    this.gesture = null;
    if (this.tool === "select") this.finder.pointed(from, to, this.view.unit, wayOf(event, this.how));
    else this.finder.brush(points, this.tool === "brush", this.radius);
    this.show();
  }

  // Without a mouse: arrows move a crosshair, Enter is a click there, Delete takes the mark off.
  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!this.size || !(way || ["Enter", "Delete"].includes(event.key))) return;
    event.preventDefault();
    const at = this.cross || [this.size[0] / 2, this.size[1] / 2], step = 12 * this.view.unit * (event.shiftKey ? 4 : 1);
    if (way) this.cross = this.view.inside([at[0] + way[0] * step, at[1] + way[1] * step]);
    else if (event.key === "Enter") this.finder.pointed(at, at, this.view.unit, wayOf(event, this.how));
    else this.put(null);
    this.show();
  }

  fit() {
    if (!this.size || this.root.offsetParent === null) return;
    this.view.fit(this.part.view.clientWidth, this.view.height(this.part.view.clientWidth, Math.max(200, window.innerHeight * TALLEST)));
    this.show();
  }

  show() {
    this.choose(this.tool); this.chooseHow(this.how); shownFor(this.root, this.tool);
    this.part.unmark.disabled = !this.mark;
    if (!this.picture || !this.view.dense) return;
    const { gesture, radius, tool } = this, drawing = tool !== "select";
    const box = gesture && !drawing ? [...gesture.from, gesture.to[0] - gesture.from[0], gesture.to[1] - gesture.from[1]] : null;
    const strokes = [...this.finder.strokes, ...(gesture && drawing ? [{ points: gesture.points, radius }] : [])];
    paint(this.view, {
      photo: { picture: this.picture, width: this.size[0], height: this.size[1] }, objects: this.mark ? [this.mark] : [],
      active: 0, pin: -1, tool, unit: this.view.unit, made: null, before: false, box, radius, strokes,
      cross: drawing ? null : this.cross, ring: drawing ? this.cursor : null, tinted: true, label: null,
    });
  }
}
