// Calls to the server that the page came from. A failed call raises ServerError, whose message is a sentence.

const KEY = "polyseme-key"; // of sessionStorage: gone when the tab is closed, never in a link

export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** Answer the JSON of a reply. `path` is relative to the page, so that a proxy may put a prefix before it. */
export async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let reply;
  try {
    reply = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ServerError(null, 0);
  }
  if (reply.status === 204) return null;
  const answer = await reply.json().catch(() => null);
  if (reply.ok && answer !== null) return answer;
  const error = answer?.error;
  const where = error?.where ? ` (${error.where})` : "";
  throw new ServerError(error ? `${error.message}${where}` : `HTTP ${reply.status}`, reply.status);
}

/** base64 of little-endian float32 -> Float32Array. */
export function floats(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}
