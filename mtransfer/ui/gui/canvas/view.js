// Where a picture lies on its canvas: fitted with a margin for what sticks out of it, zoomed, moved; screen and picture.

const LEAST_MARGIN = 18, MOST_MARGIN = 36, MARGIN = 0.05, MOST_ZOOM = 24, LEAST_ZOOM = 0.4;

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.size = null;  // [width, height] of the picture
    this.scale = 1; this.left = 0; this.top = 0;  // screen pixels of one of its own, and where its corner is
    this.own = false;  // whether zoomed or moved by hand
  }

  hold(size) { this.size = size; this.own = false; }

  // The canvas has `width` x `height` screen pixels.
  fit(width, height) {
    const { canvas } = this, dense = Math.min(2, window.devicePixelRatio || 1);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
    this.dense = dense;
    if (!this.own) this.whole();
  }

  whole() {
    const { width, height } = this.canvas.getBoundingClientRect(), [w, h] = this.size;
    const margin = this.margin(width);
    this.scale = Math.min((width - 2 * margin) / w, (height - 2 * margin) / h);
    this.left = (width - w * this.scale) / 2;
    this.top = (height - h * this.scale) / 2;
    this.own = false;
  }

  margin(width) { return Math.min(MOST_MARGIN, Math.max(LEAST_MARGIN, MARGIN * width)); }

  // The height at which a canvas of that width shows the whole picture, no more than `most`.
  height(width, most) {
    const margin = this.margin(width), [w, h] = this.size;
    return Math.min(most, (width - 2 * margin) * h / w + 2 * margin);
  }

  get unit() { return 1 / this.scale; }  // a screen pixel in the picture's

  at({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return [(clientX - box.left - this.left) / this.scale, (clientY - box.top - this.top) / this.scale];
  }

  inside([x, y]) { return [Math.min(this.size[0], Math.max(0, x)), Math.min(this.size[1], Math.max(0, y))]; }

  screen([x, y]) {
    const box = this.canvas.getBoundingClientRect();
    return [box.left + this.left + x * this.scale, box.top + this.top + y * this.scale];
  }

  zoom(where, factor) {
    const fitted = this.scaleOfWhole(), [x, y] = this.at(where);
    this.scale = Math.min(MOST_ZOOM * fitted, Math.max(LEAST_ZOOM * fitted, this.scale * factor));
    const box = this.canvas.getBoundingClientRect();
    this.left = where.clientX - box.left - x * this.scale;
    this.top = where.clientY - box.top - y * this.scale;
    this.own = true;
    this.keep();
  }

  pan(dx, dy) { this.left += dx; this.top += dy; this.own = true; this.keep(); }

  // Some of the picture stays in sight.
  keep() {
    const { width, height } = this.canvas.getBoundingClientRect(), [w, h] = this.size, least = 40;
    this.left = Math.min(width - least, Math.max(least - w * this.scale, this.left));
    this.top = Math.min(height - least, Math.max(least - h * this.scale, this.top));
  }

  scaleOfWhole() {
    const { width, height } = this.canvas.getBoundingClientRect(), margin = this.margin(width);
    return Math.min((width - 2 * margin) / this.size[0], (height - 2 * margin) / this.size[1]);
  }

  get middle() {
    const box = this.canvas.getBoundingClientRect();
    return { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 };
  }

  // For drawing in the picture's pixels.
  onto(context) {
    const { dense, scale, left, top } = this;
    context.setTransform(scale * dense, 0, 0, scale * dense, left * dense, top * dense);
  }
}
