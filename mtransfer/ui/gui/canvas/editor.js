// The editor: what is in the photo, how it moves, and every step back. The server answers a drag with its preview.

import { ask, get, picture, post, sources } from "/mtransfer/canvas/net.js";
import { paint } from "/mtransfer/canvas/paint.js";
import { backward, dragged, forward, fresh, handles, holds, isStill, pinPlaces } from "/mtransfer/canvas/shape.js";

const CLICK_PX = 5, REACH_PX = 14, MOST_STEPS = 100, SETTLED_MS = 200;
const TALLEST = 0.62;  // of the window: the rest is for tools and buttons

class Editor {
  constructor(element) {
    this.root = element;
    this.part = Object.fromEntries([...element.querySelectorAll("[data-is]")].map((each) => [each.dataset.is, each]));
    this.photo = null; this.objects = []; this.active = -1; this.pin = -1; this.tool = "select";
    this.gesture = null; this.made = null; this.past = []; this.now = -1;
    this.strokes = []; this.cursor = null; this.told = null;
    this.stats = { latencies: [], shown: 0 }; this.asking = false; this.again = false; this.turn = 0;
    sources("photo", this.part.file, this.part.samples, this.part.frame, {
      took: (facts) => this.open(facts), told: (line) => this.tell(line), isEmpty: () => !this.photo,
    });
    this.listen();
    new ResizeObserver(() => this.fit()).observe(this.part.frame);
    this.show();
  }

  listen() {
    const { canvas, flow, before, objects, pins } = this.part;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => { this.cursor = null; this.show(); });
    canvas.addEventListener("keydown", (event) => this.key(event));
    for (const button of this.root.querySelectorAll("[data-tool]")) button.onclick = () => this.use(button.dataset.tool);
    for (const button of this.root.querySelectorAll("[data-do]")) button.onclick = () => this[button.dataset.do]();
    for (const field of this.root.querySelectorAll("[data-field]")) field.onchange = () => this.typed(field);
    for (const field of this.root.querySelectorAll("[data-pin]")) field.onchange = () => this.typedPin(field);
    flow.onchange = () => this.preview();
    before.onchange = () => this.show();
    objects.onchange = () => { this.active = Number(objects.value); this.pin = -1; this.show(); };
    pins.onchange = () => { this.pin = Number(pins.value); this.show(); };
  }

  tell(line) { this.part.error.textContent = line; }
  get object() { return this.objects[this.active]; }

  async attempt(make) {
    try { this.tell(""); this.root.classList.add("mt-busy"); await make(); } catch (error) { this.tell(error.message); }
    finally { this.root.classList.remove("mt-busy"); }
  }

  async open(facts, scene = null) {
    this.back();
    this.photo = { ...facts, picture: await picture(`photo/${facts.id}`) };
    this.objects = scene || []; this.active = this.objects.length - 1; this.pin = -1;
    this.made = null; this.past = []; this.now = -1;
    this.part.hint.hidden = true;
    this.use(scene ? "move" : "select");
    this.fit(); this.commit();
  }

  // What the server is asked to do: the shape that gui_tasks.Scene reads.
  state() {
    const objects = this.objects.map(({ mask, motion }) => ({ mask: mask.id, motion }));
    return { photo: this.photo ? this.photo.id : "", objects };
  }

  commit() {
    const kept = this.objects.map(({ mask, motion }) => ({ mask, motion: { ...motion, pins: motion.pins.map((p) => [...p]) } }));
    this.past = [...this.past.slice(0, this.now + 1), { objects: kept, active: this.active }].slice(-MOST_STEPS);
    this.now = this.past.length - 1;
    this.preview(); this.show();
  }

  travel(step) {
    const kept = this.past[this.now + step];
    if (!kept) return;
    this.now += step;
    this.objects = kept.objects.map(({ mask, motion }) => ({ mask, motion: { ...motion, pins: motion.pins.map((p) => [...p]) } }));
    this.active = kept.active; this.pin = -1;
    this.preview(); this.show();
  }

  undo() { this.travel(-1); }
  redo() { this.travel(1); }
  another() { this.active = -1; this.use("select"); }
  auto() { if (this.photo) this.select("auto"); }
  reset() { if (this.object) { this.object.motion = fresh(); this.pin = -1; this.commit(); } }

  remove() {
    if (!this.object) return;
    if (this.pin >= 0) this.object.motion.pins.splice(this.pin, 1);
    else { this.objects.splice(this.active, 1); this.active = this.objects.length - 1; }
    this.pin = -1;
    this.commit();
  }

  // Generate: where the picture is, its progress and its result are seen. Returns what is to be done.
  begin() {
    if (!this.told) {
      this.told = document.querySelector("#mt-edit-told");
      this.part.frame.append(this.told);
      this.told.addEventListener("click", ({ target }) => { if (target.dataset.do === "back") this.back(); });
    }
    this.told.hidden = false;
    this.part.frame.scrollIntoView({ block: "nearest" });
    return this.state();
  }

  back() { if (this.told) this.told.hidden = true; }

  use(tool) { this.tool = tool; this.show(); }

  // Shift adds to the object that is chosen, alt removes from it, and both go on selecting.
  async select(at, how = "new") {
    const mask = this.object && this.object.mask.id, changes = mask && how !== "new";
    const asked = { photo: this.photo.id, at, ...(changes ? { mask, how } : {}) };
    await this.attempt(async () => this.put(await ask("select", asked)));
    if (this.object && !changes) this.use("move");
  }

  async put(mask) {
    mask.picture = await picture(`mask/${mask.id}`);
    if (this.object) this.object.mask = mask;
    else { this.objects.push({ mask, motion: fresh() }); this.active = this.objects.length - 1; }
    this.commit();
  }

  // Screen to photo, and the size of a screen's pixel in the photo's.
  get unit() { return this.photo.width / this.part.canvas.getBoundingClientRect().width; }

  at(event) {
    const box = this.part.canvas.getBoundingClientRect(), { width, height } = this.photo;
    const x = (event.clientX - box.left) * width / box.width, y = (event.clientY - box.top) * height / box.height;
    return [Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))];
  }

  down(event) {
    if (!this.photo || event.button) return;
    this.back();
    this.part.canvas.setPointerCapture(event.pointerId);
    const from = this.at(event);
    this.gesture = { kind: this.kindAt(from), from, to: from, points: [from], begun: this.object && { ...this.object.motion } };
    if (this.gesture.kind === "pin" && this.pin < 0) this.addPin(from);
    if (this.gesture.kind === "pin") this.gesture.pinned = [...this.object.motion.pins[this.pin]];
    this.show();
  }

  kindAt(point) {
    const near = ([x, y]) => Math.hypot(x - point[0], y - point[1]) < REACH_PX * this.unit;
    if (this.tool === "pin") {
      this.pin = this.object ? pinPlaces(this.object).findIndex((pin) => near(pin.to)) : -1;
      return this.pin >= 0 || (this.object && holds(this.object, point)) ? "pin" : "none";
    }
    if (this.tool !== "move") return this.tool;
    const handle = this.object && handles(this.object, this.unit).find((each) => near(each.at));
    if (handle) return handle.kind;
    if (!this.object || !holds(this.object, point)) {
      const other = this.objects.findIndex((each) => holds(each, point));
      if (other < 0) return "none";
      this.active = other; this.pin = -1;
    }
    return "move";
  }

  addPin(point) {
    this.object.motion.pins = [...this.object.motion.pins, [...backward(this.object, point), 0, 0]];
    this.pin = this.object.motion.pins.length - 1;
  }

  moved(event) {
    const gesture = this.gesture;
    if (this.photo) this.cursor = this.at(event);
    if (!gesture) { if (["brush", "erase"].includes(this.tool)) this.show(); return; }
    gesture.to = this.at(event);
    gesture.points.push(gesture.to);
    if (gesture.kind === "pin") {
      const [x, y, dx, dy] = gesture.pinned, pins = [...this.object.motion.pins];
      pins[this.pin] = [x, y, Math.round(dx + gesture.to[0] - gesture.from[0]), Math.round(dy + gesture.to[1] - gesture.from[1])];
      this.object.motion = { ...this.object.motion, pins };
    } else if (["move", "rotate", "scale", "sx", "sy"].includes(gesture.kind)) {
      this.object.motion = dragged(gesture.kind, this.object, gesture.begun, gesture.from, gesture.to, event.shiftKey);
    }
    if (!["select", "brush", "erase", "none"].includes(gesture.kind)) this.preview();
    this.show();
  }

  async up(event) {
    const gesture = this.gesture;
    if (!gesture) return;
    this.gesture = null;
    const { kind, from, to, points } = gesture;
    const far = Math.hypot(to[0] - from[0], to[1] - from[1]) > CLICK_PX * this.unit;
    if (event.type === "pointercancel") this.travel(0);
    else if (kind === "select") {
      const box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
      const how = event.shiftKey ? "add" : event.altKey ? "remove" : "new";
      await this.select((far ? box : from).map((value) => value.toFixed(1)).join(","), how);
    } else if (kind === "brush" || kind === "erase") this.brushed(points, kind === "brush");
    else if (kind !== "none") this.commit();
    this.show();
  }

  // Strokes are seen at once, and sent one after another: each continues the mask that the one before has left.
  brushed(points, add) {
    this.strokes.push({ points, add, radius: Number(this.part.radius.value) * this.unit, object: this.object });
    if (this.strokes.length === 1) this.attempt(() => this.sendStrokes());
  }

  async sendStrokes() {
    try {
      while (this.strokes.length) {
        const { points, add, radius, object } = this.strokes[0];
        const motion = object && object.motion, size = motion ? motion.scale * Math.sqrt(motion.sx * motion.sy) : 1;
        const there = object ? points.map((point) => backward(object, point)) : points;
        const asked = { photo: this.photo.id, mask: object && object.mask.id, points: there, radius: radius / size, add };
        const mask = await ask("brush", asked);
        mask.picture = await picture(`mask/${mask.id}`);
        const made = object || { mask, motion: fresh() };
        if (object) object.mask = mask;
        else { this.objects.push(made); this.active = this.objects.length - 1; }
        this.strokes.shift();
        for (const each of this.strokes) each.object = each.object || made;
        this.commit();
      }
    } finally { this.strokes = []; this.show(); }
  }

  key(event) {
    const step = event.shiftKey ? 10 : 1, motion = this.object && this.object.motion;
    const tools = { s: "select", b: "brush", e: "erase", m: "move", p: "pin" };
    const changes = {
      ArrowLeft: { dx: -step }, ArrowRight: { dx: step }, ArrowUp: { dy: -step }, ArrowDown: { dy: step },
      "[": { rotate: step }, "]": { rotate: -step },
    };
    const scales = { "+": 1.05, "=": 1.05, "-": 1 / 1.05 };
    const letter = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (letter === "z") event.shiftKey ? this.redo() : this.undo();
      else if (letter === "y") this.redo();
      else return;
    } else if (motion && changes[event.key]) {
      for (const [name, by] of Object.entries(changes[event.key])) motion[name] = Math.round((motion[name] + by) * 100) / 100;
      this.commit();
    } else if (motion && scales[event.key]) {
      motion.scale = Math.round(Math.min(20, Math.max(0.05, motion.scale * scales[event.key])) * 1000) / 1000;
      this.commit();
    } else if (event.key === "Escape") {
      if (this.gesture) { this.gesture = null; this.travel(0); } else this.back();
    } else if (event.key === "Delete") this.remove();
    else if (tools[letter]) this.use(tools[letter]);
    else return;
    event.preventDefault();
  }

  typed(field) {
    const value = Number(field.value);
    if (!this.object || field.value === "" || !field.checkValidity() && field.min) return this.show();
    this.object.motion = { ...this.object.motion, [field.dataset.field]: value };
    this.commit();
  }

  typedPin(field) {
    if (!this.object || this.pin < 0 || field.value === "") return this.show();
    this.object.motion.pins[this.pin][Number(field.dataset.pin)] = Number(field.value);
    this.commit();
  }

  // One question at a time; what changes meanwhile is asked next, so a slow server drops frames and no more.
  async preview() {
    if (this.asking) { this.again = true; return; }
    if (!this.photo || !this.objects.length) { this.made = null; this.show(); return; }
    this.asking = true; this.turn += 1;
    const begun = performance.now(), flow = this.part.flow.checked;
    const still = this.objects.every(({ motion }) => isStill(motion));
    try {
      const made = await this.drawn({ shown: flow ? "flow" : "picture" });
      // Of what does not move the photo itself is the best picture; asking has set the stage for the first drag.
      this.made = still && !flow ? null : made;
      this.noted(performance.now() - begun);
    } catch (error) { this.tell(error.message); }
    this.asking = false;
    if (this.again) { this.again = false; this.preview(); }
    else if (this.made && !flow) this.settle();
    this.show();
  }

  async drawn(options) {
    const answer = await post("preview", { ...this.state(), ...options });
    const bitmap = await createImageBitmap(await answer.blob());
    const numbers = (name) => answer.headers.get(name).split(",").map(Number);
    return { bitmap, box: numbers("x-box"), size: numbers("x-size") };
  }

  // When nothing has changed for a moment, the same picture in finer pixels.
  async settle() {
    const turn = this.turn, current = () => turn === this.turn && !this.gesture && this.made;
    await new Promise((done) => setTimeout(done, SETTLED_MS));
    if (!current()) return;
    try {
      const made = await this.drawn({ settled: true });
      if (current()) { this.made = made; this.show(); }
    } catch (error) { this.tell(error.message); }
  }

  noted(latency) {
    this.stats.latencies.push(latency);
    this.stats.shown += 1;
    const last = this.stats.latencies.slice(-10);
    const mean = last.reduce((sum, each) => sum + each, 0) / last.length;
    this.part.rate.textContent = `preview ${Math.round(mean)} ms`;
  }

  fit() {
    if (!this.photo) return;
    const { canvas, frame } = this.part, { width, height } = this.photo;
    const shown = Math.min(frame.clientWidth, Math.max(240, window.innerHeight * TALLEST) * width / height);
    const dense = Math.min(2, window.devicePixelRatio || 1);
    canvas.style.width = `${shown}px`;
    canvas.style.height = `${shown * height / width}px`;
    canvas.width = Math.round(shown * dense);
    canvas.height = Math.round(shown * dense * height / width);
    this.show();
  }

  show() {
    for (const button of this.root.querySelectorAll("[data-tool]")) button.setAttribute("aria-checked", button.dataset.tool === this.tool);
    this.fill();
    if (!this.photo) return;
    const radius = Number(this.part.radius.value) * this.unit;
    const gesture = this.gesture, drawn = gesture && ["brush", "erase"].includes(gesture.kind);
    const box = gesture && gesture.kind === "select"
      ? [...gesture.from, gesture.to[0] - gesture.from[0], gesture.to[1] - gesture.from[1]] : null;
    paint(this.part.canvas, {
      photo: this.photo, objects: this.objects, active: this.active, pin: this.pin, tool: this.tool, unit: this.unit,
      made: this.made, before: this.part.before.checked, box, radius,
      strokes: [...this.strokes, ...(drawn ? [{ points: gesture.points, radius }] : [])],
      ring: ["brush", "erase"].includes(this.tool) ? this.cursor : null,
      tinted: ["select", "brush", "erase"].includes(this.tool) || this.objects.every(({ motion }) => isStill(motion)) && !this.made,
    });
  }

  fill() {
    const motion = this.object && this.object.motion, pin = motion && motion.pins[this.pin];
    for (const field of this.root.querySelectorAll("[data-field]")) {
      field.disabled = !motion;
      if (field !== document.activeElement || !this.gesture) field.value = motion ? motion[field.dataset.field] : "";
    }
    for (const field of this.root.querySelectorAll("[data-pin]")) {
      field.disabled = !pin;
      field.value = pin ? pin[Number(field.dataset.pin)] : "";
    }
    const names = (count, word) => Array.from({ length: count }, (_, index) => new Option(`${word} ${index + 1}`, index));
    this.part.objects.replaceChildren(...names(this.objects.length, "object"));
    this.part.objects.value = this.active;
    this.part.pins.replaceChildren(...names(motion ? motion.pins.length : 0, "pin"));
    this.part.pins.value = this.pin;
    for (const [name, off] of [["undo", this.now < 1], ["redo", this.now >= this.past.length - 1], ["auto", !this.photo]]) {
      this.root.querySelector(`[data-do=${name}]`).disabled = off;
    }
  }

  // A run of the gallery, back as it was when it was made.
  async load(run) {
    await this.attempt(async () => {
      const facts = await get(`things/${run.photo}`);
      const objects = await Promise.all(run.scene.objects.map(async ({ mask, motion }) => ({
        mask: { ...await get(`things/${mask}`), picture: await picture(`mask/${mask}`) }, motion,
      })));
      await this.open(facts, objects);
    });
  }

  done() { this.kept = this.now; document.dispatchEvent(new CustomEvent("mtransfer-made")); }
}

export function start(element) {
  const editor = new Editor(element);
  window.mtransfer = { ...window.mtransfer, editor };
  window.addEventListener("beforeunload", (event) => { if (editor.now > 0 && editor.now !== editor.kept) event.preventDefault(); });
  editor.forward = forward;
  editor.handles = () => handles(editor.object, editor.unit);
}
