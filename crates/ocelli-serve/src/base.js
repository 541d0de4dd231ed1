const byId = (id) => document.getElementById(id);
const element = (name, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
};
/* What rounds to certainty is none. */
const percent = (value) => (value < 0.0005 ? "< 0.1 %" : value > 0.9995 ? "> 99.9 %" : `${(100 * value).toFixed(1)} %`);
const count = (number, thing) => `${number} ${thing}${number === 1 ? "" : thing.endsWith("s") ? "es" : "s"}`;
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
/* The token stands behind #, which browsers send to no server. It is kept in this page alone. */
let token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
if (token) history.replaceState(null, "", location.pathname);
/* What the server answers; an error with its words where it refuses. */
async function ask(path, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body) headers["Content-Type"] = typeof body === "string" ? "application/json" : "application/octet-stream";
  let answer;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", body, headers });
  } catch {
    throw new Error("the server does not answer; start it again, and load this page again");
  }
  if (answer.ok) return answer.headers.get("Content-Type").startsWith("image/") ? answer.blob() : answer.json();
  let error = {};
  try { [error] = [await answer.json()].flat(); } catch {}
  throw Object.assign(new Error(error.error ?? `the server answers ${answer.status}`), { status: answer.status });
}

