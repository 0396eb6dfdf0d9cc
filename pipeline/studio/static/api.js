// What the server is asked.

// status: of the answer; 0 where there was none.
export class Failed extends Error {
  constructor(why, status = 0) {
    super(why);
    this.status = status;
  }
}

async function answer(response) {
  if (response.ok) return response.json();
  const text = await response.text();
  let said = text.trim();
  try {
    said = JSON.parse(text).error ?? said;
  } catch {}
  throw new Failed(said || `the studio answered ${response.status}`, response.status);
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Failed("the studio does not answer: it may have been ended in its terminal");
  }
  return answer(response);
}

export const get = (path) => ask(path);

export const post = (path, body) =>
  ask(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

export const send = (path, body) => ask(path, { method: "POST", body });
