// What belongs to an object: the server finds what is at a click or in a box, strokes add and erase, a mask can be given.

import { ask, picture, uploadMask } from "/mtransfer/canvas/net.js";
import { backward } from "/mtransfer/canvas/shape.js";

export const CLICK_PX = 5;

export class Finder {
  // `of()` names the picture, `object()` is what is being found ({ mask, motion }) or nothing, `put(mask, object)` takes
  // what was found and returns its object, `attempt(make)` shows what goes wrong, `show()` draws.
  constructor(hooks) { Object.assign(this, hooks); this.strokes = []; this.working = Promise.resolve(); }

  // One after another: each continues what the one before has left.
  queue(make) {
    this.working = this.working.then(() => this.attempt(make));
    return this.working;
  }

  async found(mask, object) {
    mask.picture = await picture(`mask/${mask.id}`);
    return this.put(mask, object);
  }

  // `how`: new, add or remove.
  select(at, how = "new") {
    return this.queue(async () => {
      const object = this.object(), mask = object && object.mask, changes = mask && how !== "new";
      await this.found(await ask("select", { ...this.of(), at, ...(changes ? { mask: mask.id, how } : {}) }), object);
    });
  }

  // A click, or a box where the pointer has gone further than a click's.
  pointed(from, to, unit, how) {
    const far = Math.hypot(to[0] - from[0], to[1] - from[1]) > CLICK_PX * unit;
    const box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
    return this.select((far ? box : from).map((value) => value.toFixed(1)).join(","), how);
  }

  // Strokes are seen at once, and sent in their order. One on an object that was moved lands where it is drawn.
  brush(points, add, radius) {
    const stroke = { points, add, radius };
    this.strokes.push(stroke);
    return this.queue(async () => {
      try {
        const object = this.object(), motion = object && object.motion;
        const size = motion ? motion.scale * Math.sqrt(motion.sx * motion.sy) : 1;
        const there = motion ? points.map((point) => backward(object, point)) : points;
        const mask = object ? object.mask.id : null;
        await this.found(await ask("brush", { ...this.of(), mask, points: there, radius: radius / size, add }), object);
      } finally {
        this.strokes.splice(this.strokes.indexOf(stroke), 1);
        this.show();
      }
    });
  }

  give(file) { return this.queue(async () => { await this.found(await uploadMask(this.of(), file), this.object()); }); }
}

// Which of shift, alt and the list of ways was meant.
export function wayOf(event, chosen) { return event.shiftKey ? "add" : event.altKey ? "remove" : chosen; }
