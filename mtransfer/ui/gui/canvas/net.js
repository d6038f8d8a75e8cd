// Requests to the editor's own addresses. A refusal becomes an Error with the server's one line.

async function checked(answer) {
  if (answer.ok) return answer;
  let line = `the server said ${answer.status}; reload the page`;
  try { line = (await answer.json()).error || line; } catch { /* no JSON: the status must do */ }
  throw new Error(line);
}

async function sent(path, options) {
  try { return await fetch(`/mtransfer/${path}`, options); } catch { throw new Error("the server does not answer; is it still running?"); }
}

export async function post(path, values, options = {}) {
  const headers = { "content-type": "application/json" };
  return checked(await sent(path, { method: "POST", headers, body: JSON.stringify(values), ...options }));
}

export async function ask(path, values) { return (await post(path, values)).json(); }

export async function get(path) { return (await checked(await sent(path))).json(); }

async function upload(path, query, file) {
  const address = `${path}?${new URLSearchParams({ ...query, name: file.name })}`;
  return (await checked(await sent(address, { method: "POST", body: file }))).json();
}

export const uploadFile = (kind, file) => upload("upload", { kind }, file);
export const uploadMask = (of, file) => upload("mask", of, file);

export function picture(path) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => failed(new Error("the picture could not be loaded; reload the page"));
    image.src = `/mtransfer/${path}`;
  });
}
