// Every step back and forward.

const MOST_STEPS = 100;

export const copied = (objects) => objects.map(({ mask, motion }) => ({
  mask, motion: { ...motion, pins: motion.pins.map((pin) => [...pin]), path: [...motion.path] },
}));

export class History {
  constructor() { this.clear(); }
  clear() { this.past = []; this.now = -1; }

  commit(objects, active) {
    this.past = [...this.past.slice(0, this.now + 1), { objects: copied(objects), active }].slice(-MOST_STEPS);
    this.now = this.past.length - 1;
  }

  // What stood `step` steps from now, or nothing.
  travel(step) {
    const kept = this.past[this.now + step];
    if (!kept) return null;
    this.now += step;
    return { objects: copied(kept.objects), active: kept.active };
  }

  get first() { return this.now < 1; }
  get last() { return this.now >= this.past.length - 1; }
}
