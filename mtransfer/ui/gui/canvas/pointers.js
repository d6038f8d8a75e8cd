// Mouse, pen and fingers on a canvas: one of them is the tool's; two pinch and move the view, the wheel zooms it, and the
// middle button or the space bar with a drag moves it.

const WHEEL = 0.0015;

// `tool` has down, move, up, cancel and hover, each with a point of the picture, and changed for another view.
export function listen(canvas, view, tool) {
  const down = new Map();
  let panning = false, space = false, tooling = false;

  const centre = () => {
    const all = [...down.values()];
    const mean = (name) => all.reduce((sum, each) => sum + each[name], 0) / all.length;
    const [a, b] = all;
    return { clientX: mean("clientX"), clientY: mean("clientY"), far: b ? Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) : 0 };
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!view.size || (event.button && event.button !== 1)) return;
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, event);
    if (down.size === 2 && tooling) { tooling = false; tool.cancel(); }
    panning = down.size > 1 || event.button === 1 || space;
    if (panning) event.preventDefault();
    else { tooling = true; tool.down(view.at(event), event); }
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!view.size) return;
    if (!down.has(event.pointerId)) { tool.hover(view.at(event)); return; }
    const before = centre();
    down.set(event.pointerId, event);
    if (panning) {
      const now = centre();
      if (before.far && now.far) view.zoom(now, now.far / before.far);
      view.pan(now.clientX - before.clientX, now.clientY - before.clientY);
      tool.changed();
    } else if (tooling) tool.move(view.at(event), event);
  });

  const gone = (event) => {
    if (!down.delete(event.pointerId)) return;
    if (tooling) { tooling = false; if (event.type === "pointerup") tool.up(event); else tool.cancel(); }
    if (!down.size) panning = false;
  };
  canvas.addEventListener("pointerup", gone);
  canvas.addEventListener("pointercancel", gone);
  canvas.addEventListener("pointerleave", () => tool.hover(null));

  canvas.addEventListener("wheel", (event) => {
    if (!view.size) return;
    event.preventDefault();
    view.zoom(event, Math.exp(-event.deltaY * WHEEL * (event.ctrlKey ? 6 : 1)));
    tool.changed();
  }, { passive: false });

  canvas.addEventListener("keydown", (event) => { if (event.key === " ") { space = true; event.preventDefault(); } });
  window.addEventListener("keyup", (event) => { if (event.key === " ") space = false; });
  window.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && tooling) { tooling = false; event.preventDefault(); event.stopPropagation(); tool.cancel(); }
  }, true);
}
