// The node's API: requests that answer with values, or throw a `Problem` with a sentence.
//
// The cookie of this page goes along by itself.  Not for: the event stream (events.js).

const PATIENCE_MS = 15_000;
const SESSION_OVER =
  "This page has been signed out: the service was started anew. Run “peershare open” to open it again.";

export class Problem extends Error {
  /** `status` is that of HTTP, 0 where nobody answered; `body` an ApiError, or {}. */
  constructor(status, body = {}) {
    super(status === 401 ? SESSION_OVER : body.message || sentence(status));
    this.status = status;
    this.body = body;
  }
}

function sentence(status) {
  return status
    ? `The service answered with an error (${status}).`
    : "The service does not answer. Is it still running?";
}

async function ask(method, path, body) {
  const options = { method, signal: AbortSignal.timeout(PATIENCE_MS) };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let response;
  let answer;
  try {
    response = await fetch(`/api/${path}`, options);
    answer = await response.json();
  } catch (error) {
    if (!(error instanceof SyntaxError)) {
      throw new Problem(0);
    }
    answer = {};
  }
  if (!response.ok) {
    throw new Problem(response.status, answer);
  }
  return answer;
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);
export const put = (path, body) => ask("PUT", path, body);

/** Everything that a listing has, asked for in pages. */
export async function getAll(path, query = {}) {
  const limit = 1000;
  const found = [];
  for (;;) {
    const params = new URLSearchParams({ ...query, offset: found.length, limit });
    const page = await get(`${path}?${params}`);
    found.push(...page);
    if (page.length !== limit) {
      return found;
    }
  }
}

/** Send a file into the share folder; `progress` is told the part that is sent, 0 to 1. */
export function upload(file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch tells nothing about how far a body is
    request.open("PUT", `/api/shares/${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => progress(event.loaded / Math.max(1, event.total));
    request.onerror = () => reject(new Problem(0));
    request.onload = () =>
      request.status < 300
        ? resolve(request.response)
        : reject(new Problem(request.status, request.response ?? {}));
    request.send(file);
  });
}
