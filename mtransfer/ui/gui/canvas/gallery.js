// What this visitor has made: before and after, figures, the recipe folder, and back into the editor.

import { make } from "/mtransfer/canvas/elements.js";
import { lines } from "/mtransfer/canvas/jobs.js";
import { get } from "/mtransfer/canvas/net.js";

const figure = (value) => typeof value === "number" ? value.toFixed(2) : "—";

function table(run) {
  const { metrics } = run;
  const rows = [
    ["moved as asked", run.moved],
    ["background", metrics.background_psnr_db === undefined ? "—"
      : metrics.background_psnr_db === null ? "untouched" : `${figure(metrics.background_psnr_db)} dB`],
    ["made in", `${figure(Object.values(run.seconds).reduce((sum, each) => sum + each, 0))} s, preset ${run.preset}, seed ${run.seed}`],
  ];
  return make("table", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", { textContent: cell })))));
}

function compared(run) {
  const base = `/mtransfer/run/${run.id}`;
  if (run.shown !== "edited.png") return make("video", { src: `${base}/${run.shown}`, controls: true, loop: true, muted: true });
  const after = make("img", { src: `${base}/${run.shown}`, alt: "after" });
  const slider = make("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: "before and after" });
  slider.oninput = () => { after.style.clipPath = `inset(0 0 0 ${slider.value}%)`; };
  const both = make("div", { className: "mt-compare" }, make("img", { src: `/mtransfer/photo/${run.photo}`, alt: "before" }), after);
  return make("div", {}, both, slider);
}

function card(run) {
  const base = `/mtransfer/run/${run.id}`;
  const row = make("div", { className: "mt-row" },
    make("a", { href: `${base}/recipe.zip`, download: "", textContent: "Recipe folder" }),
    make("a", { href: `${base}/${run.shown}`, download: run.save_as, textContent: "Result" }));
  if (run.scene) {
    const again = make("button", { type: "button", textContent: "Open in the editor" });
    again.onclick = async () => {
      document.querySelector("[role=tab]").click();
      await window.mtransfer.editor.load(run);
    };
    row.append(again);
  }
  const title = make("p", { textContent: `${run.kind}: ${run.of}` });
  return make("div", { className: "mt-run-card", data: { run: run.id } }, title, compared(run), table(run), lines(run.lines), row);
}

export function start(element) {
  const place = element.querySelector(".mt-gallery");
  const refresh = async () => {
    const runs = await get("runs");
    const empty = make("p", { textContent: "Nothing made yet: press Generate in one of the other tabs." });
    place.replaceChildren(runs.length ? make("div", { className: "mt-runs" }, ...runs.map(card)) : empty);
  };
  document.addEventListener("mtransfer-made", refresh);
  refresh();
}
