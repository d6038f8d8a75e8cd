// Transfer and Animate: a clip, a photo, the frames, and what moves in each.

import { sources } from "/mtransfer/canvas/net.js";

class Motion {
  constructor(element) {
    this.root = element.querySelector("[data-command]");
    this.command = this.root.dataset.command;
    this.part = Object.fromEntries([...this.root.querySelectorAll("[data-is]")].map((each) => [each.dataset.is, each]));
    this.facts = { clip: null, photo: null };
    this.spots = { clip: "auto", photo: "auto" };
    this.range = [null, null];
    for (const each of this.root.querySelectorAll("[data-only]")) each.hidden = each.dataset.only !== this.command;
    for (const kind of ["clip", "photo"]) this.take(kind);
    this.part.scrub.oninput = () => this.scrub();
    this.root.querySelector("[data-do=setA]").onclick = () => this.set(0);
    this.root.querySelector("[data-do=setB]").onclick = () => this.set(1);
  }

  take(kind) {
    const { [`${kind}-file`]: file, [`${kind}-samples`]: list, [`${kind}-view`]: view, [`${kind}-image`]: image } = this.part;
    sources(kind, file, list, view, {
      took: (facts) => this.open(kind, facts),
      told: (line) => { this.part.error.textContent = line; },
      isEmpty: () => !this.facts[kind],
    });
    image.onclick = (event) => this.point(kind, event);
  }

  open(kind, facts) {
    this.facts[kind] = facts;
    this.mark(kind, null);
    if (kind === "photo") this.part["photo-image"].src = `/mtransfer/photo/${facts.id}`;
    else {
      this.part.scrub.max = facts.frames - 1;
      this.part.scrub.value = 0;
      this.range = [null, null];
      this.option("range").value = "";
      this.scrub();
    }
  }

  option(name) { return this.root.querySelector(`[data-option=${name}]`); }

  // Frames come one at a time; of those passed over while one was loading only the last is fetched.
  scrub() {
    if (!this.facts.clip) return;
    const frame = Number(this.part.scrub.value), image = this.part["clip-image"];
    this.part.frame.textContent = `frame ${frame} of ${this.facts.clip.frames}, ${(frame / this.facts.clip.fps).toFixed(2)} s`;
    if (this.loading) { this.late = true; return; }
    this.loading = true;
    image.onload = image.onerror = () => {
      this.loading = false;
      if (this.late) { this.late = false; this.scrub(); }
    };
    image.src = `/mtransfer/clip/${this.facts.clip.id}/${frame}`;
  }

  set(end) {
    this.range[end] = Number(this.part.scrub.value);
    const [a, b] = this.range;
    this.option("range").value = b === null ? "" : `${a ?? 0}:${b}`;
  }

  point(kind, event) {
    const image = event.target, box = image.getBoundingClientRect(), { width, height } = this.facts[kind];
    const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
    const spot = image.parentElement.querySelector(".mt-spot");
    const again = !spot.hidden && Math.hypot(event.offsetX - spot.offsetLeft - 8, event.offsetY - spot.offsetTop - 8) < 14;
    this.mark(kind, again ? null : [x, y, `${(x * width).toFixed(1)},${(y * height).toFixed(1)}`]);
  }

  mark(kind, place) {
    const image = this.part[`${kind}-image`], spot = image.parentElement.querySelector(".mt-spot");
    spot.hidden = place === null;
    this.spots[kind] = place === null ? "auto" : place[2];
    if (place === null) return;
    spot.style.left = `${place[0] * image.clientWidth}px`;
    spot.style.top = `${place[1] * image.clientHeight}px`;
  }

  // The shape that gui._clip_job reads.
  state() {
    const value = (name) => this.option(name).value, checked = (name) => this.option(name).checked;
    const own = this.command === "animate"
      ? { frames: value("range"), reference: value("reference"), loop: value("loop") } : { pair: value("range") };
    return {
      clip: this.facts.clip && this.facts.clip.id, photo: this.facts.photo && this.facts.photo.id,
      subject: this.spots.photo, clip_subject: this.spots.clip, strength: Number(value("strength")),
      align: value("align"), camera: value("camera"), mirror: value("mirror"), turn: checked("turn"), ...own,
    };
  }

  // Generate: what is said of it comes into sight.
  begin() {
    document.querySelector(`#mt-${this.command}-told`).scrollIntoView({ block: "nearest" });
    return this.state();
  }

  done() { document.dispatchEvent(new CustomEvent("mtransfer-made")); }
}

export function start(element) {
  const motion = new Motion(element);
  window.mtransfer = { ...window.mtransfer, [motion.command]: motion };
}
