// Where photos and clips come from: a file field, a list of samples, a file dropped or pasted anywhere on the page, and
// what another tab has opened.

import { ask, get, uploadFile } from "/mtransfer/canvas/net.js";

const OPENED = "mtransfer-opened", opened = {}, takers = [];
const NAMED = { image: "photo", video: "clip" };

const kindOf = ({ type, name }) => NAMED[type.split("/")[0]] || (/\.(gif|apng|mkv|mov|mts|avi|wmv|flv)$/i.test(name) ? "clip" : "photo");

// A tab's ways to one kind of file; each ends in `took(facts)`. `isEmpty` tells whether another tab's is taken over.
export function sources(kind, field, list, { took, told, isEmpty }) {
  const attempt = async (make) => {
    try {
      told("");
      opened[kind] = await make();
      await took(opened[kind]);
      document.dispatchEvent(new CustomEvent(OPENED));
    } catch (error) { told(error.message); }
  };
  const follow = () => { if (opened[kind] && isEmpty()) took(opened[kind]); };
  document.addEventListener(OPENED, follow);
  follow();
  takers.push({ kind, inSight: () => field.closest(".mt-file").offsetParent !== null, take: (file) => attempt(() => uploadFile(kind, file)) });
  field.addEventListener("change", () => {
    if (field.files.length) attempt(() => uploadFile(kind, field.files[0]));
    field.value = "";
  });
  list.addEventListener("change", () => {
    if (list.value) attempt(() => ask("sample", { kind, name: list.value }));
    list.selectedIndex = 0;
  });
  get("samples").then((names) => {
    for (const name of names[kind]) list.append(new Option(name, name));
    list.hidden = !names[kind].length;
  });
}

// What a tab had opened before the page was loaded anew.
export function share(kind, facts) {
  opened[kind] = opened[kind] || facts;
  document.dispatchEvent(new CustomEvent(OPENED));
}

function give(files) {
  for (const file of files) {
    const shown = takers.filter((each) => each.inSight());
    const taker = shown.find((each) => each.kind === kindOf(file)) || (shown.length === 1 ? shown[0] : null);
    if (taker) taker.take(file);
  }
}

document.addEventListener("dragover", (event) => { if ([...event.dataTransfer.types].includes("Files")) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  give(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) give(event.clipboardData.files); });
