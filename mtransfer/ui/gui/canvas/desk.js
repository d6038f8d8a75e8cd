// What stands in the tabs is noted on the server as it changes, and stands there again when the page is loaded.

import { get, post } from "/mtransfer/canvas/net.js";

const NOTED_MS = 250, waiting = {};
let found = null;

export function restored(tab) {
  found = found || get("desk");
  return found.then((desk) => desk[tab] || null, () => null);
}

export function note(tab, state) {
  clearTimeout(waiting[tab] && waiting[tab].timer);
  waiting[tab] = { state, timer: setTimeout(() => send(tab), NOTED_MS) };
}

// What cannot be noted is no reason to stop work: the next change is noted again.
function send(tab, options) {
  const { state } = waiting[tab];
  delete waiting[tab];
  post("desk", { tab, state }, options).catch(() => {});
}

window.addEventListener("pagehide", () => { for (const tab of Object.keys(waiting)) send(tab, { keepalive: true }); });
