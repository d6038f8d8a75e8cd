// Requests to the editor's own addresses. A refusal becomes an Error with the server's one line.

async function checked(answer) {
  if (answer.ok) return answer;
  let line = `the server said ${answer.status}`;
  try { line = (await answer.json()).error || line; } catch { /* no JSON: the status must do */ }
  throw new Error(line);
}

export async function post(path, values) {
  const headers = { "content-type": "application/json" };
  return checked(await fetch(`/mtransfer/${path}`, { method: "POST", headers, body: JSON.stringify(values) }));
}

export async function ask(path, values) { return (await post(path, values)).json(); }

export async function get(path) { return (await checked(await fetch(`/mtransfer/${path}`))).json(); }

export async function upload(kind, file) {
  const query = new URLSearchParams({ kind, name: file.name });
  return (await checked(await fetch(`/mtransfer/upload?${query}`, { method: "POST", body: file }))).json();
}

export function picture(path) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => failed(new Error("the picture could not be loaded; reload the page"));
    image.src = path.startsWith("/") ? path : `/mtransfer/${path}`;
  });
}

// A result's button that shows the photo in its place, and the result again.
document.addEventListener("click", ({ target }) => {
  if (target.dataset?.do !== "compare") return;
  const result = target.closest(".mt-result"), before = target.getAttribute("aria-pressed") !== "true";
  result.querySelector(".mt-was").hidden = !before;
  result.querySelector(".mt-made").hidden = before;
  target.setAttribute("aria-pressed", before);
});

const OPENED = "mtransfer-opened", opened = {};

// A file field, a list of samples and dropping a file: each ends in `took(facts)`. What another tab has opened is taken
// over where nothing is there yet, as `isEmpty` tells.
export function sources(kind, field, list, target, { took, told, isEmpty }) {
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
  field.addEventListener("change", () => {
    if (field.files.length) attempt(() => upload(kind, field.files[0]));
    field.value = "";
  });
  list.addEventListener("change", () => {
    if (list.value) attempt(() => ask("sample", { kind, name: list.value }));
    list.selectedIndex = 0;
  });
  target.addEventListener("dragover", (event) => event.preventDefault());
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) attempt(() => upload(kind, event.dataTransfer.files[0]));
  });
  get("samples").then((names) => {
    for (const name of names[kind]) list.append(new Option(name, name));
    list.hidden = !names[kind].length;
  });
}
