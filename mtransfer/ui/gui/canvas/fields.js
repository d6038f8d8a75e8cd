// The numbers beside the picture: of the object, of its pin, and the lists of both.

import { BOUNDS, bounded, fresh } from "/mtransfer/canvas/shape.js";

const UNITS = { dx: "px", dy: "px", rotate: "°", scale: "×", sx: "×", sy: "×" };
const NAMES = { dx: "right", dy: "down", rotate: "turn", scale: "scale", sx: "wide", sy: "high" };

export class Fields {
  constructor(editor) {
    this.editor = editor;
    this.own = [...editor.root.querySelectorAll("[data-field]")];
    this.pins = [...editor.root.querySelectorAll("[data-pin]")];
    for (const field of this.own) field.onchange = () => this.typed(field);
    for (const field of this.pins) field.onchange = () => this.typedPin(field);
    const { objects, pins } = editor.part;
    objects.onchange = () => editor.choose(Number(objects.value));
    pins.onchange = () => { editor.pin = Number(pins.value); editor.show(); };
  }

  typed(field) {
    const { editor } = this, name = field.dataset.field, value = field.value === "" ? fresh()[name] : Number(field.value);
    if (!editor.object) return;
    const kept = this.bound(name, value);
    editor.object.motion = { ...editor.object.motion, [name]: kept };
    editor.commit();
    field.value = kept;
  }

  typedPin(field) {
    const { editor } = this, place = Number(field.dataset.pin);
    if (!editor.object || editor.pin < 0) return;
    const kept = this.bound(place === 2 ? "dx" : "dy", Number(field.value));
    editor.object.motion.pins[editor.pin][place] = kept;
    editor.commit();
    field.value = kept;
  }

  // The nearest value that can be, and why it is not the one that was typed.
  bound(name, value) {
    const kept = bounded(name, value), [least, most] = BOUNDS[name], unit = UNITS[name];
    const why = value < least ? `at least ${least} ${unit}` : `at most ${most} ${unit}`;
    this.editor.tell(kept === value ? "" : `${NAMES[name]} is ${why}, so ${value} became ${kept}`);
    return kept;
  }

  show() {
    const { editor } = this, { part, objects } = editor, motion = editor.object && editor.object.motion;
    const pin = motion && motion.pins[editor.pin];
    for (const field of this.own) fill(field, motion ? motion[field.dataset.field] : null);
    for (const field of this.pins) fill(field, pin ? pin[Number(field.dataset.pin)] : null);
    list(part.objects, objects.length, "object", editor.active);
    list(part.pins, motion ? motion.pins.length : 0, "pin", editor.pin);
  }
}

function fill(field, value) {
  field.disabled = value === null;
  const text = value === null ? "" : String(value);
  if (field !== document.activeElement && field.value !== text) field.value = text;
}

function list(select, count, word, chosen) {
  if (select.options.length !== count) {
    select.replaceChildren(...Array.from({ length: count }, (_, index) => new Option(`${word} ${index + 1}`, index)));
  }
  select.value = chosen;
}
