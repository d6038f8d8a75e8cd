// Transfer and Animate: a clip, a photo, the frames, and what moves in each.

import { note, restored } from "/mtransfer/canvas/desk.js";
import { parts } from "/mtransfer/canvas/elements.js";
import { Work } from "/mtransfer/canvas/jobs.js";
import { Marker } from "/mtransfer/canvas/marker.js";
import { get, picture } from "/mtransfer/canvas/net.js";
import { howLong } from "/mtransfer/canvas/pace.js";
import { fresh } from "/mtransfer/canvas/shape.js";
import { share, sources } from "/mtransfer/canvas/sources.js";

const KINDS = ["clip", "photo"];

class Motion {
  constructor(element) {
    this.root = element.querySelector("[data-command]");
    this.command = this.root.dataset.command;
    this.part = parts(this.root);
    this.facts = { clip: null, photo: null };
    this.clipMark = null;  // { frame, mark }: of the frame that it was set on
    this.range = [null, null]; this.preset = "fast";
    for (const each of this.root.querySelectorAll("[data-only]")) each.hidden = each.dataset.only !== this.command;
    this.marker = Object.fromEntries(KINDS.map((kind) => [kind, this.marking(kind)]));
    this.work = new Work(this.command, this.part.told, () => document.dispatchEvent(new CustomEvent("mtransfer-made")));
    for (const kind of KINDS) this.take(kind);
    this.listen();
  }

  listen() {
    this.part.scrub.oninput = () => this.scrub();
    this.root.querySelector("[data-do=setA]").onclick = () => this.set(0);
    this.root.querySelector("[data-do=setB]").onclick = () => this.set(1);
    this.part["to-mark"].onclick = () => { this.part.scrub.value = this.clipMark.frame; this.scrub(); };
    this.part.told.addEventListener("click", ({ target }) => { if (target.dataset.do === "back") this.work.hide(); });
    for (const option of this.root.querySelectorAll("[data-option]")) option.addEventListener("change", () => this.changed());
    restored(this.command).then((state) => { if (state) this.restore(state); });
  }

  tell(line) { this.part.error.textContent = line; }
  get frame() { return Number(this.part.scrub.value); }

  marking(kind) {
    const of = kind === "photo" ? () => ({ photo: this.facts.photo.id }) : () => ({ clip: this.facts.clip.id, frame: this.shown });
    return new Marker(this.part[kind], {
      of, told: (line) => this.tell(line),
      changed: (mark) => {
        if (kind === "clip") this.clipMark = mark && { frame: mark.mask.frame, mark };
        this.changed();
      },
    });
  }

  take(kind) {
    const { [`${kind}-file`]: file, [`${kind}-samples`]: list } = this.part;
    sources(kind, file, list, {
      took: (facts) => this.open(kind, facts), told: (line) => this.tell(line), isEmpty: () => !this.facts[kind],
    });
  }

  async open(kind, facts, mark = null) {
    this.facts[kind] = facts;
    if (kind === "photo") {
      this.marker.photo.hold(await picture(`photo/${facts.id}`), [facts.width, facts.height], mark);
    } else {
      this.clipMark = mark && { frame: mark.mask.frame, mark };
      this.part.scrub.max = facts.frames - 1;
      this.part.scrub.value = mark ? mark.mask.frame : 0;
      this.range = [null, null];
      this.option("range").value = "";
      this.scrub();
    }
    this.changed();
  }

  option(name) { return this.root.querySelector(`[data-option=${name}]`); }

  // Frames come one at a time; of those passed over while one was loading only the last is fetched.
  async scrub() {
    const { clip } = this.facts, { frame } = this;
    if (!clip) return;
    this.part.frame.textContent = `frame ${frame} of ${clip.frames}, ${(frame / clip.fps).toFixed(2)} s`;
    if (this.loading) { this.late = true; return; }
    this.loading = true;
    try {
      const image = await picture(`clip/${clip.id}/${frame}`);
      this.shown = frame;
      this.marker.clip.hold(image, [clip.width, clip.height], this.clipMark && this.clipMark.frame === frame ? this.clipMark.mark : null);
    } catch (error) { this.tell(error.message); }
    this.loading = false;
    this.say();
    if (this.late) { this.late = false; this.scrub(); }
  }

  set(end) {
    this.range[end] = this.frame;
    const [a, b] = this.range;
    this.option("range").value = b === null ? "" : `${a ?? 0}:${b}`;
    this.changed();
  }

  // The shape that forms.clip_job reads.
  state() {
    const value = (name) => this.option(name).value, checked = (name) => this.option(name).checked;
    const own = this.command === "animate"
      ? { frames: value("range"), reference: value("reference"), loop: value("loop") } : { pair: value("range") };
    const { clip, photo } = this.facts, mark = this.marker.photo.mark;
    return {
      clip: clip && clip.id, photo: photo && photo.id, photo_mark: mark && mark.mask.id,
      clip_mark: this.clipMark && this.clipMark.mark.mask.id, strength: Number(value("strength")),
      align: value("align"), camera: value("camera"), mirror: value("mirror"), turn: checked("turn"), ...own,
    };
  }

  changed() {
    note(this.command, this.state());
    this.say();
  }

  say() {
    const away = this.clipMark && this.clipMark.frame !== this.frame;
    this.part["to-mark"].hidden = !away;
    if (away) this.part["to-mark"].textContent = `the mark is on frame ${this.clipMark.frame}`;
    if (this.command === "animate") {
      this.part.pace.textContent = howLong(this.facts, this.option("range").value, this.option("loop").value, this.preset);
    }
  }

  async restore(state) {
    try {
      const marked = async (name) => name ? { mask: { ...await get(`things/${name}`), picture: await picture(`mask/${name}`) }, motion: fresh() } : null;
      for (const kind of KINDS) {
        if (!state[kind] || this.facts[kind]) continue;
        const facts = await get(`things/${state[kind]}`);
        await this.open(kind, facts, await marked(state[`${kind}_mark`]));
        share(kind, facts);
      }
      this.option("range").value = state.frames || state.pair || "";
      for (const name of ["strength", "align", "camera", "mirror", "reference", "loop"]) if (state[name] !== undefined) this.option(name).value = state[name];
      this.option("turn").checked = Boolean(state.turn);
      this.say();
    } catch (error) { this.tell(error.message); }
  }

  async generate(preset, [chosen, seed, prompt]) {
    this.part.told.scrollIntoView({ block: "nearest" });
    await Promise.all(KINDS.map((kind) => this.marker[kind].finder.working));
    this.preset = preset || chosen;
    this.work.begin({ state: this.state(), options: { preset: preset || chosen, seed, prompt } });
  }

  cancel() { this.work.cancel(); }
}

export function start(element) {
  const motion = new Motion(element);
  window.mtransfer = { ...window.mtransfer, [motion.command]: motion };
}
