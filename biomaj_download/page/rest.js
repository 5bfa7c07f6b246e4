// Ask the service. A token, where one was given, is kept until the tab closes, and sent to the
// service alone.

const BASE = "api/download/";
const KEPT = "biomaj-download token";

export const token = {
  get: () => sessionStorage.getItem(KEPT),
  set: (text) => sessionStorage.setItem(KEPT, text),
  forget: () => sessionStorage.removeItem(KEPT),
};

/** The service refused; `status` 0: it cannot be reached. `retrySeconds` null: it did not say. */
export class Refusal extends Error {
  constructor(status, code, detail, retrySeconds = null) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retrySeconds = retrySeconds;
  }
}

/** A route below the base: words are escaped, arguments that are empty are left out. */
export function route(words, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null);
  const path = words.map(encodeURIComponent).join("/");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** Send a request and return the response, if it is a good one; else throw a Refusal. */
export async function send(method, path, { signal, ...more } = {}) {
  const headers = { ...more.headers };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  const response = await fetch(BASE + path, {
    method,
    headers,
    body: more.body,
    signal,
    cache: "no-store",
    credentials: "same-origin",
  }).catch((error) => {
    if (signal?.aborted) throw error;
    throw new Refusal(0, "unreachable", "the service does not answer");
  });
  if (!response.ok) throw await refusal(response);
  return response;
}

export async function get(path, more) {
  return (await send("GET", path, more)).json();
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail ?? problem.error ?? problem.title ?? response.statusText;
  const wait = Number(response.headers.get("Retry-After") ?? NaN);
  return new Refusal(
    response.status,
    problem.code ?? "",
    String(detail || response.status),
    Number.isFinite(wait) ? wait : null,
  );
}
