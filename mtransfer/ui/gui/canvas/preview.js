// The live preview: one question at a time; what changes meanwhile is asked next, so a slow server drops frames and no more.

import { post } from "/mtransfer/canvas/net.js";

const SETTLED_MS = 200;

export class Preview {
  // `state()` is what to show, `calm()` whether nothing is dragged, `shown()` draws, `told(line)` says what went wrong.
  constructor(hooks) {
    Object.assign(this, hooks);
    this.made = null; this.asking = false; this.again = false; this.turn = 0;
    this.stats = { latencies: [], shown: 0 };
  }

  // Of what does not move the photo itself is the best picture; asking has set the stage for the first drag.
  async ask(flow, still) {
    if (this.asking) { this.again = true; return; }
    const state = this.state();
    if (!state.objects.length) { this.made = null; this.shown(); return; }
    this.asking = true; this.turn += 1;
    const begun = performance.now();
    try {
      const made = await this.drawn(state, { shown: flow() ? "flow" : "picture" });
      this.made = still() && !flow() ? null : made;
      this.stats.latencies.push(performance.now() - begun);
      this.stats.shown += 1;
    } catch (error) { this.told(error.message); }
    this.asking = false;
    if (this.again) { this.again = false; this.ask(flow, still); }
    else if (this.made && !flow()) this.settle();
    this.shown();
  }

  async drawn(state, options) {
    const answer = await post("preview", { ...state, ...options });
    const bitmap = await createImageBitmap(await answer.blob());
    const numbers = (name) => answer.headers.get(name).split(",").map(Number);
    return { bitmap, box: numbers("x-box"), size: numbers("x-size") };
  }

  // When nothing has changed for a moment, the same picture in finer pixels.
  async settle() {
    const { turn } = this, current = () => turn === this.turn && this.calm() && this.made;
    await new Promise((done) => setTimeout(done, SETTLED_MS));
    if (!current()) return;
    try {
      const made = await this.drawn(this.state(), { settled: true });
      if (current()) { this.made = made; this.shown(); }
    } catch (error) { this.told(error.message); }
  }

  get rate() {
    const last = this.stats.latencies.slice(-10).sort((one, other) => one - other);
    return last[Math.floor(last.length / 2)];
  }
}
