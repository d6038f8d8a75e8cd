// The editor: what is in the photo, how it moves, and every step back. The server answers a drag with its preview.

import { note, restored } from "/mtransfer/canvas/desk.js";
import { choices, parts, shownFor } from "/mtransfer/canvas/elements.js";
import { Fields } from "/mtransfer/canvas/fields.js";
import { Finder, wayOf } from "/mtransfer/canvas/finder.js";
import { History } from "/mtransfer/canvas/history.js";
import { Work } from "/mtransfer/canvas/jobs.js";
import { keys } from "/mtransfer/canvas/keys.js";
import { get, picture } from "/mtransfer/canvas/net.js";
import { paint } from "/mtransfer/canvas/paint.js";
import { listen } from "/mtransfer/canvas/pointers.js";
import { Preview } from "/mtransfer/canvas/preview.js";
import { backward, dragged, evenly, forward, fresh, handles, holds, isStill, pinPlaces } from "/mtransfer/canvas/shape.js";
import { share, sources } from "/mtransfer/canvas/sources.js";
import { View } from "/mtransfer/canvas/view.js";

const REACH_PX = 14, TOUCH_PX = 22;
const TALLEST = 0.62;  // of the window: the rest is for tools and buttons
const MARKING = ["select", "brush", "erase"], MOVING = ["move", "rotate", "scale", "sx", "sy", "pin", "path"];
const MOST_KEPT = 4;  // beside the one at its end
const WAY_POSES = 12;  // of a way that was drawn
const HINTS = {
  select: "Click what is to move, or draw a box round it; shift adds, alt takes off. Then drag it with Move.",
  brush: "Paint what belongs to it.", erase: "Paint what does not.",
  move: "Drag it, or its handles; shift snaps, alt keeps the centre.",
  pin: "Click to set pins, and drag them.",
  path: "Drag it along the way that a film is to take; or Move it and Keep pose, up to five times.",
};
const ONE_PIN = "One pin alone takes the whole object along: set a second one to hold the rest.";

class Editor {
  constructor(element) {
    this.root = element;
    this.part = parts(element);
    this.photo = null; this.objects = []; this.active = -1; this.pin = -1; this.tool = "select"; this.how = "new";
    this.gesture = null; this.cursor = null; this.cross = null; this.kept = 0; this.opened = 0;
    this.view = new View(this.part.canvas);
    this.history = new History();
    this.finder = new Finder({
      of: () => ({ photo: this.photo.id }), object: () => this.object, put: (mask, object) => this.put(mask, object),
      attempt: (make) => this.attempt(make), show: () => this.show(),
    });
    this.live = new Preview({
      state: () => this.state(), calm: () => !this.gesture, shown: () => this.show(), told: (line) => this.tell(line),
    });
    this.fields = new Fields(this);
    this.work = new Work("edit", this.part.told, (job) => this.done(job));
    this.listen();
    this.show();
  }

  listen() {
    const { canvas, flow, before, file, samples, mask, radius, told, frame } = this.part;
    sources("photo", file, samples, {
      took: (facts) => this.open(facts), told: (line) => this.tell(line), isEmpty: () => !this.photo,
    });
    listen(canvas, this.view, {
      down: (at, event) => this.down(at, event), move: (at, event) => this.moved(at, event), up: (event) => this.up(event),
      cancel: () => this.abort(), hover: (at) => this.hover(at), changed: () => this.show(),
    });
    keys(this);
    this.mark = choices(this.root.querySelector(".mt-tools"), (tool) => this.use(tool));
    this.markHow = choices(this.root.querySelector(".mt-how"), (how) => { this.how = how; this.show(); });
    for (const button of this.root.querySelectorAll("[data-do]")) button.onclick = () => this[button.dataset.do]();
    told.addEventListener("click", ({ target }) => { if (target.dataset.do === "back") this.back(); });
    mask.onchange = () => { if (mask.files.length && this.photo) this.finder.give(mask.files[0]); mask.value = ""; };
    flow.onchange = () => this.preview();
    before.onchange = radius.oninput = () => this.show();
    new ResizeObserver(() => this.fit()).observe(frame);
    restored("edit").then((state) => { if (state && state.photo) this.load(state, () => this.opened > 0); });
  }

  tell(line) { this.part.error.textContent = line; }
  get object() { return this.objects[this.active]; }
  get inSight() { return this.root.offsetParent !== null; }
  get now() { return this.history.now; }
  get made() { return this.live.made; }
  get asking() { return this.live.asking; }
  get stats() { return this.live.stats; }
  get strokes() { return this.finder.strokes; }

  async attempt(make) {
    try { this.tell(""); this.root.classList.add("mt-busy"); await make(); } catch (error) { this.tell(error.message); }
    finally { this.root.classList.remove("mt-busy"); }
  }

  async open(facts, objects = [], active = objects.length - 1) {
    this.back();
    const turn = this.opened += 1, shown = await picture(`photo/${facts.id}`);
    if (turn !== this.opened) return;  // another has been opened meanwhile
    this.photo = { ...facts, picture: shown };
    this.view.hold([facts.width, facts.height]);
    this.objects = objects; this.active = active; this.pin = -1; this.cross = null;
    this.live.made = null; this.history.clear(); this.kept = 0;
    this.part.hint.hidden = true;
    this.use(objects.length ? "move" : "select");
    this.fit(); this.commit();
  }

  // What the server is asked to do: the shape that forms.Scene reads.
  state() {
    const objects = this.objects.map(({ mask, motion }) => ({ mask: mask.id, motion }));
    return { photo: this.photo ? this.photo.id : "", objects };
  }

  commit() { this.history.commit(this.objects, this.active); this.changed(); }
  changed() { note("edit", { ...this.state(), active: this.active }); this.preview(); this.show(); }

  preview() {
    if (!this.photo) return;
    this.live.ask(() => this.part.flow.checked, () => this.objects.every(({ motion }) => isStill(motion)));
  }

  travel(step) {
    const kept = this.history.travel(step);
    if (!kept) return;
    this.objects = kept.objects; this.active = kept.active; this.pin = -1;
    if (!this.objects.length) this.use("select");
    this.changed();
  }

  // What is on its way to the server comes first, and is what is undone.
  async undo() { await this.finder.working; this.travel(-1); }
  async redo() { await this.finder.working; this.travel(1); }
  another() { this.active = -1; this.use("select"); }
  auto() { if (this.photo) this.finder.select("auto"); }
  reset() { if (this.object) { this.object.motion = fresh(); this.pin = -1; this.commit(); } }
  whole() { if (this.photo) { this.view.whole(); this.show(); } }
  closer() { this.zoomed(1.25); }
  farther() { this.zoomed(1 / 1.25); }
  zoomed(factor) { if (this.photo) { this.view.zoom(this.view.middle, factor); this.show(); } }
  choose(index) { this.active = index; this.pin = -1; this.show(); }
  next() { if (this.objects.length) this.choose((this.active + 1) % this.objects.length); }
  use(tool) { this.tool = tool; this.show(); }

  remove() {
    if (!this.object) return;
    if (this.pin >= 0) this.object.motion.pins.splice(this.pin, 1);
    else { this.objects.splice(this.active, 1); this.active = this.objects.length - 1; }
    this.pin = -1;
    if (!this.objects.length) this.use("select");
    this.commit();
  }

  // Generate: where the picture is, its progress and its result are seen.
  async generate(preset, [chosen, seed, prompt, film]) {
    this.part.frame.scrollIntoView({ block: "nearest" });
    await this.finder.working;
    this.asked = this.now;
    this.work.begin({ state: this.state(), options: { preset: preset || chosen, seed, prompt }, film });
  }

  cancel() { this.work.cancel(); }
  back() { this.work.hide(); }

  done(job) {
    if (job.state === "done") this.kept = this.asked;
    document.dispatchEvent(new CustomEvent("mtransfer-made"));
  }

  put(mask, object) {
    const made = object || { mask, motion: fresh() };
    made.mask = mask;
    if (!object) { this.objects.push(made); this.active = this.objects.length - 1; }
    this.commit();
    return made;
  }

  point(from, to, event) { return this.finder.pointed(from, to, this.view.unit, wayOf(event, this.how)); }

  down(at, event) {
    this.back();
    this.part.canvas.focus({ preventScroll: true });
    this.reach = (event.pointerType === "touch" ? TOUCH_PX : REACH_PX) * this.view.unit;
    const drag = this.taken(at), from = MARKING.includes(drag.kind) ? this.view.inside(at) : at;
    this.gesture = { ...drag, from, to: from, points: [from], begun: this.object && { ...this.object.motion } };
    if (drag.kind === "pin" && this.pin < 0) this.addPin(at);
    if (drag.kind === "pin") this.gesture.pinned = [...this.object.motion.pins[this.pin]];
    this.show();
  }

  // What a pointer takes hold of.
  taken(point) {
    const near = ([x, y]) => Math.hypot(x - point[0], y - point[1]) < this.reach;
    if (this.tool === "pin") {
      this.pin = this.object ? pinPlaces(this.object).findIndex((pin) => near(pin.to)) : -1;
      return { kind: this.pin >= 0 || (this.object && holds(this.object, point)) ? "pin" : "none" };
    }
    if (this.tool === "path") return { kind: this.object && holds(this.object, point) ? "path" : "none" };
    if (this.tool !== "move") return { kind: this.tool };
    const handle = this.object && handles(this.object, this.view.unit).find((each) => near(each.at));
    if (handle) return handle;
    if (!this.object || !holds(this.object, point)) {
      const other = this.objects.findIndex((each) => holds(each, point));
      if (other < 0) return { kind: "none" };
      this.active = other; this.pin = -1;
    }
    return { kind: "move" };
  }

  addPin(point) {
    this.object.motion.pins = [...this.object.motion.pins, [...backward(this.object, point), 0, 0]];
    this.pin = this.object.motion.pins.length - 1;
  }

  hover(at) {
    this.cursor = at;
    if (["brush", "erase"].includes(this.tool)) this.show();
  }

  moved(at, event) {
    const { gesture } = this, how = { shift: event.shiftKey, alt: event.altKey };
    if (!gesture) return;
    this.cursor = at;
    gesture.to = MARKING.includes(gesture.kind) ? this.view.inside(at) : at;
    gesture.points.push(gesture.to);
    if (gesture.kind === "pin") this.object.motion = { ...this.object.motion, pins: this.pulled(gesture, how) };
    else if (MOVING.includes(gesture.kind)) this.object.motion = dragged(gesture, this.object, at, how);
    if (MOVING.includes(gesture.kind)) this.preview();
    this.show();
  }

  pulled({ pinned, from, to }, { shift }) {
    const [x, y, dx, dy] = pinned, pins = [...this.object.motion.pins], by = [to[0] - from[0], to[1] - from[1]];
    if (shift) by[Math.abs(by[0]) < Math.abs(by[1]) ? 0 : 1] = 0;
    pins[this.pin] = [x, y, Math.round(dx + by[0]), Math.round(dy + by[1])];
    return pins;
  }

  up(event) {
    const { gesture } = this;
    if (!gesture) return;
    this.gesture = null;
    const { kind, from, to, points } = gesture;
    if (kind === "select") this.point(from, to, event);
    else if (kind === "brush" || kind === "erase") this.finder.brush(points, kind === "brush", this.radius);
    else if (kind === "path") this.drawn(gesture);
    else if (kind !== "none") this.commit();
    this.show();
  }

  // The way that was drawn, from rest, is the film's.
  drawn({ points, from, begun }) {
    const poses = evenly(points, WAY_POSES).map(([x, y], index) => {
      const share = (index + 1) / (WAY_POSES + 1);
      return [begun.dx + x - from[0], begun.dy + y - from[1], begun.rotate * share, begun.scale ** share];
    });
    this.object.motion = { ...this.object.motion, path: poses };
    this.commit();
  }

  // Where it stands is passed on the way to where it will be moved next.
  pose() {
    if (!this.object) return;
    const { motion } = this.object, { dx, dy, rotate, scale } = motion;
    if (motion.path.length >= MOST_KEPT) { this.tell(`a film passes at most ${MOST_KEPT} poses on its way; Reset begins anew`); return; }
    this.object.motion = { ...motion, path: [...motion.path, [dx, dy, rotate, scale]] };
    this.commit();
  }

  abort() { this.gesture = null; this.travel(0); this.show(); }

  get radius() { return Number(this.part.radius.value) * this.view.unit; }

  fit() {
    if (!this.photo || !this.inSight) return;
    const width = this.part.frame.clientWidth, most = Math.max(260, window.innerHeight * TALLEST);
    this.view.fit(width, this.view.height(width, most));
    this.show();
  }

  show() {
    this.mark(this.tool); this.markHow(this.how); shownFor(this.root, this.tool);
    this.fields.show();
    this.say();
    for (const [name, off] of [["undo", this.history.first], ["redo", this.history.last], ["auto", !this.photo]]) {
      this.root.querySelector(`[data-do=${name}]`).disabled = off;
    }
    if (!this.photo) return;
    const { gesture, radius } = this, drawn = gesture && ["brush", "erase"].includes(gesture.kind);
    const box = gesture && gesture.kind === "select"
      ? [...gesture.from, gesture.to[0] - gesture.from[0], gesture.to[1] - gesture.from[1]] : null;
    const still = this.objects.every(({ motion }) => isStill(motion)) && !this.made;
    paint(this.view, {
      photo: this.photo, objects: this.objects, active: this.active, pin: this.pin, tool: this.tool, unit: this.view.unit,
      made: this.made, before: this.part.before.checked, box, radius, cross: this.tool === "select" ? this.cross : null,
      strokes: [...this.strokes, ...(drawn ? [{ points: gesture.points, radius }] : [])],
      ring: ["brush", "erase"].includes(this.tool) ? this.cursor : null, tinted: MARKING.includes(this.tool) || still,
      label: gesture && this.object ? this.measured(gesture.kind) : null,
    });
  }

  // A turn is counted, with its sign: counter-clockwise is plus.
  measured(kind) {
    const { motion } = this.object, signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(Math.round(value))}`;
    if (kind === "rotate") return `${signed(motion.rotate)}°`;
    return { scale: `× ${motion.scale}`, sx: `wide × ${motion.sx}`, sy: `high × ${motion.sy}` }[kind] || null;
  }

  say() {
    const pins = this.object ? this.object.motion.pins : [];
    const line = pins.length === 1 && this.tool === "pin" ? ONE_PIN : this.photo ? HINTS[this.tool] : "";
    if (this.part.say.textContent !== line) this.part.say.textContent = line;
    this.part.rate.textContent = this.stats.shown ? `preview ${Math.round(this.live.rate)} ms` : "";
  }

  // What stood here, in another tab or before: of the gallery's runs, or of the desk. `isLate`: it is wanted no longer.
  async load({ photo, scene, objects, active }, isLate = () => false) {
    await this.attempt(async () => {
      const facts = await get(`things/${photo}`);
      const found = await Promise.all((scene ? scene.objects : objects).map(async ({ mask, motion }) => ({
        mask: { ...await get(`things/${mask}`), picture: await picture(`mask/${mask}`) }, motion: { ...fresh(), ...motion },
      })));
      if (isLate()) return;
      await this.open(facts, found, active);
      share("photo", facts);
    });
  }
}

export function start(element) {
  const editor = new Editor(element);
  window.mtransfer = { ...window.mtransfer, editor };
  window.addEventListener("beforeunload", (event) => { if (editor.now > 0 && editor.now !== editor.kept) event.preventDefault(); });
  editor.forward = forward;
  editor.handles = () => handles(editor.object, editor.view.unit);
}
