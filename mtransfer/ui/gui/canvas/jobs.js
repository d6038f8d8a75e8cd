// Jobs: the list of those that run and wait, each with its Cancel, and what a tab says of its own: progress and result.

import { ask, get } from "/mtransfer/canvas/net.js";
import { make } from "/mtransfer/canvas/elements.js";

const OFTEN_MS = 200, SELDOM_MS = 3000;
const OVER = ["done", "failed", "cancelled"];
const STAGES = {
  waiting: "waiting", prepare: "preparing", photo: "finding what moves", clip: "reading the clip", retarget: "fitting the motion",
  warp: "moving it", model: "loading the model", sample: "refining", plate: "filling what was behind", measure: "measuring",
  files: "writing the film",
};
const COUNTED = ["clip", "sample"];  // what a stage counts means something to people
const followers = new Set();
let jobs = [], timer = null, list = null;

export const isOver = (job) => OVER.includes(job.state);

function stage({ stage: name }) {
  const [first, rest] = name.split(": ");
  return first === "frames" && rest ? `frame ${rest}` : STAGES[first] || first;
}

export function words(job) {
  if (job.state === "cancelling") return "Cancelling…";
  if (job.state === "waiting") return job.ahead ? `waiting for ${job.ahead} before it` : "about to start";
  const counted = COUNTED.includes(job.stage) && job.done ? ` ${job.done} of ${job.total}` : "";
  const energy = job.energy === null ? [] : [`energy ${job.energy.toFixed(2)}`];
  const left = job.left_s > 1 ? [`about ${Math.round(job.left_s)} s left`] : [`${Math.round(job.elapsed_s)} s so far`];
  return [`${stage(job)}${counted}`, `${Math.round(100 * job.share)} %`, ...energy, ...left].join(" · ");
}

async function look() {
  clearTimeout(timer);
  try {
    jobs = await get("jobs");
    show();
  } catch { /* the next look may be answered */ }
  clearTimeout(timer);
  timer = setTimeout(look, jobs.every(isOver) ? SELDOM_MS : OFTEN_MS);
}

function show() {
  list = list || document.querySelector("main").appendChild(make("ul", { className: "mt-jobs", ariaLabel: "jobs" }));
  const open = jobs.filter((job) => !isOver(job));
  for (const row of [...list.children]) if (!open.some((job) => job.id === row.dataset.job)) row.remove();
  for (const job of open) row(job);
  list.hidden = !open.length;
  document.documentElement.style.setProperty("--mt-jobs", `${list.offsetHeight}px`);
  for (const follow of followers) follow(jobs);
}

function row(job) {
  let found = list.querySelector(`[data-job="${job.id}"]`);
  if (!found) {
    const stop = make("button", { type: "button", textContent: "Cancel", ariaLabel: `cancel ${job.of}` });
    stop.onclick = () => cancel(job.id);
    found = make("li", { data: { job: job.id } }, make("progress", { max: 1, ariaLabel: `progress of ${job.of}` }), make("span"), stop);
    list.append(found);
  }
  found.dataset.state = job.state;
  found.querySelector("progress").value = job.share;
  found.querySelector("span").textContent = `${job.of}: ${words(job)}`;
  found.querySelector("button").disabled = job.state === "cancelling";
}

// What is cancelled says so at once; the server's word follows.
export async function cancel(id) {
  jobs = jobs.map((job) => job.id === id && !isOver(job) ? { ...job, state: "cancelling" } : job);
  show();
  try { await ask(`jobs/${id}/cancel`, {}); } catch { /* it is over already */ }
  look();
}

// A tab's own job: the one that it has asked for last, or found under way when the page was loaded.
export class Work {
  constructor(tab, place, done) {
    Object.assign(this, { tab, place, done, id: null, told: null, asking: false, unwanted: false });
    followers.add((all) => this.follow(all));
    this.first = true;
    look();
  }

  async begin(asked) {
    this.first = this.unwanted = false;
    this.id = this.told = null;
    this.asking = true;
    this.say(make("p", { className: "mt-note", data: { state: "running", done: 0 } }, make("span", { className: "mt-line", textContent: "asking…" })));
    try {
      const job = await ask("jobs", { tab: this.tab, ...asked });
      this.id = job.id;
      jobs = [...jobs.filter((each) => each.id !== job.id), job];
      show();
      if (this.unwanted) cancel(this.id);
      else look();
    } catch (error) { this.say(failed(error.message)); }
    this.asking = false;
  }

  // It may be cancelled before the server has said what it is called.
  cancel() {
    if (this.id) cancel(this.id);
    else if (this.asking) { this.unwanted = true; this.place.querySelector(".mt-line").textContent = "Cancelling…"; }
  }

  follow(all) {
    const own = all.filter((job) => job.tab === this.tab);
    if (this.first) { this.first = false; this.id = (own.findLast((job) => !isOver(job)) || {}).id || null; }
    const job = own.find((each) => each.id === this.id);
    if (job) this.tell(job);
  }

  tell(job) {
    const key = JSON.stringify([job.state, isOver(job) ? 0 : words(job), job.seen, job.lines]);
    if (key === this.told) return;
    this.told = key;
    if (job.state === "done") this.say(result(job.result));
    else if (job.state === "failed") this.say(failed(job.error));
    else if (job.state === "cancelled") this.say(make("p", { className: "mt-note", textContent: "Cancelled.", data: { state: "cancelled" } }));
    else this.say(progress(job));
    if (isOver(job)) this.done(job);
  }

  say(element) { this.place.replaceChildren(element); this.place.hidden = false; }
  hide() { if (this.told === null || !this.place.querySelector("[data-state=running]")) this.place.hidden = true; }
}

const failed = (line) => make("p", { className: "mt-error", textContent: line, role: "alert", data: { state: "failed" } });
export const lines = (said) => said && said.length ? make("ul", { className: "mt-lines" }, ...said.map((line) => make("li", { textContent: line }))) : null;

function progress(job) {
  const seen = job.seen ? make("img", { className: "mt-sofar", alt: "the picture so far", src: `/mtransfer/jobs/${job.id}/picture?${job.seen}` }) : null;
  return make("div", { className: "mt-progress", data: { state: "running", done: job.done } }, seen,
    make("progress", { max: 1, value: job.share, ariaLabel: "progress" }), make("span", { className: "mt-line", textContent: words(job) }), lines(job.lines));
}

function result(facts) {
  const base = `/mtransfer/run/${facts.id}`, moving = facts.shown.endsWith(".mp4");
  const seconds = Object.values(facts.seconds).reduce((sum, each) => sum + each, 0);
  const made = moving
    ? make("video", { className: "mt-made", src: `${base}/${facts.shown}`, controls: true, loop: true, autoplay: true, muted: true })
    : make("img", { className: "mt-made", src: `${base}/${facts.shown}`, alt: "the result" });
  const was = make("img", { className: "mt-was", src: `/mtransfer/photo/${facts.photo}`, alt: "the photo", hidden: true });
  const compare = make("button", { type: "button", textContent: "Show the photo" });
  compare.setAttribute("aria-pressed", false);
  compare.onclick = () => {
    was.hidden = !was.hidden;
    made.hidden = !was.hidden;
    compare.setAttribute("aria-pressed", made.hidden);
  };
  const row = make("p", {}, `Done in ${seconds.toFixed(1)} s · moved as asked: ${facts.moved} · `,
    make("a", { href: `${base}/${facts.shown}`, download: facts.save_as, textContent: "Download result" }), " · ",
    make("a", { href: `${base}/recipe.zip`, download: "", textContent: "recipe folder" }), " · ",
    ...(moving ? [] : [compare, " · "]), make("button", { type: "button", className: "mt-back", textContent: "Back to editing", data: { do: "back" } }));
  return make("div", { className: "mt-result", data: { state: "done", run: facts.id } }, row, lines(facts.lines), was, made);
}
