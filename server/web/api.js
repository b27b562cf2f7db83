// Questions to the gateway. The token lives as long as the tab and goes nowhere but here.
const KEY = "groundswell-token";

export class Fault extends Error {
  constructor(status, body) {
    super(body.detail || `HTTP ${status}`);
    this.status = status;
    this.code = body.code || "unknown";
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

export function get(path) {
  return ask("GET", path);
}

export function post(path, body = {}) {
  return ask("POST", path, JSON.stringify(body));
}

async function ask(method, path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  let response;
  try {
    response = await fetch(path, { method, headers, body });
  } catch {
    throw new Fault(0, { code: "unreachable", detail: "" });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Fault(response.status, answer);
  return answer;
}
