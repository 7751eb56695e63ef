// The server's streamed answer, and what becomes of it.

// sseReader gives each the data of every server-sent event, whatever chunks the text arrives in.
function sseReader(each) {
  let rest = "", data = [];
  return chunk => {
    rest += chunk;
    for (let end; (end = rest.indexOf("\n")) >= 0; rest = rest.slice(end + 1)) {
      const line = rest.slice(0, end).replace(/\r$/, "");
      if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
      else if (line === "" && data.length > 0) {
        each(data.join("\n"));
        data = [];
      }
    }
  };
}

// An answer has parts, in order: {kind: "thought", text}, {kind: "search", call, raw, query, documents},
// {kind: "note", text} and {kind: "answer", text}. documents is null until the result is there.

// applyDelta adds what an event's delta brings to the parts of an answer.
function applyDelta(parts, delta) {
  const text = (kind, more) => {
    if (typeof more !== "string" || more === "") return;
    if (parts.at(-1)?.kind !== kind) parts.push({ kind, text: "" });
    parts.at(-1).text += more;
  };
  text("thought", delta.reasoning_content ?? delta.reasoning);
  for (const c of delta.tool_calls ?? []) {
    let p = parts.findLast(p => p.kind === "search" && (c.id ? p.call === c.id : p.index === c.index));
    if (!p) parts.push(p = { kind: "search", call: c.id, index: c.index, raw: "", query: "", documents: null });
    p.raw += c.function?.arguments ?? "";
    try {
      const arguments_ = JSON.parse(p.raw);
      p.query = String(arguments_.query ?? p.raw);
    } catch { /* the rest of the arguments is still to come */ }
  }
  const z = delta.zerosearch;
  if (Array.isArray(z?.documents)) {
    const p = parts.findLast(p => p.kind === "search" && p.call === z.tool_call_id) ?? parts.findLast(p => p.kind === "search");
    if (p) p.documents = z.documents.map(d => ({ id: String(d.id), title: String(d.title ?? ""), source: String(d.source ?? "") + (d.number > 0 ? ", passage " + d.number : ""), passage: String(d.passage ?? ""), cited: d.cited === true }));
  }
  text("answer", delta.content);
}

// methods says what a search agent does.
const methods = { agent: "searching in turns", rag: "retrieving once", direct: "answering from memory" };

// applyAgent adds what an event says of a search agent's work to an answer: the method that begins, and at the end
// which documents are cited, and what should be checked.
function applyAgent(answer, z) {
  const parts = answer.parts;
  if (!z.turns && typeof z.method === "string") {
    if (answer.method) parts.push({ kind: "note", text: "No answer by " + methods[answer.method] + ": " + methods[z.method] + " instead." });
    answer.method = z.method;
  }
  const cited = new Set(z.turns?.flatMap(t => t.documents ?? []).filter(d => d.cited).map(d => String(d.id)));
  for (const d of parts.flatMap(p => p.documents ?? [])) if (cited.has(d.id)) d.cited = true;
  if (z.warning) answer.warning = String(z.warning);
}

// answerOf is the text of an answer, without what models write between <think> and </think>.
function answerOf(parts) {
  return splitThought(parts.filter(p => p.kind === "answer").map(p => p.text).join("")).answer;
}

// splitThought cuts the thought off with which some chat models begin an answer.
function splitThought(text) {
  const m = /^\s*<think>([^]*?)(?:<\/think>\s*|$)/.exec(text);
  return m ? { thought: m[1].trim(), answer: text.slice(m[0].length) } : { thought: "", answer: text };
}

// documentOf finds what a mark such as [2], or [1.2] for the second document of the first search, stands for. It gives
// the place of the search among the parts and that of the document in it; null: there is no such document.
function documentOf(parts, id) {
  const searches = parts.map((p, at) => ({ p, at })).filter(x => x.p.kind === "search" && x.p.documents);
  for (const { p, at } of searches) {
    const d = p.documents.findIndex(d => d.id === id);
    if (d >= 0) return [at, d];
  }
  const [turn, number] = id.split(".").map(Number), s = searches[turn - 1];
  return number >= 1 && s && number <= s.p.documents.length ? [s.at, number - 1] : null;
}

// usualTemperature is that of a conversation. The API's own, 1, makes small models talk nonsense.
const usualTemperature = "0.7";

// requestOf is the body of a request for the next answer to the messages. With resume the last answer goes on.
function requestOf(model, messages, o, resume) {
  const agent = isAgent(model), sent = [];
  if (o.system && !agent) sent.push({ role: "system", content: o.system });
  messages.forEach((m, i) => {
    if (m.role === "user") {
      const next = messages[i + 1]; // a question without an answer is left out, unless it is the last
      if (!next || answerOf(next.parts) !== "" || i + 2 === messages.length) sent.push({ role: "user", content: m.text });
    } else if (answerOf(m.parts) !== "") sent.push({ role: "assistant", content: resume && i === messages.length - 1 ? m.parts.filter(p => p.kind === "answer").map(p => p.text).join("") : answerOf(m.parts) });
  });
  const body = { model, messages: sent, stream: true, stream_options: { include_usage: true } };
  if (o.temperature !== "" || !agent) body.temperature = +(o.temperature || usualTemperature);
  if (o.max !== "") body.max_tokens = +o.max;
  if (resume) Object.assign(body, { add_generation_prompt: false, continue_final_message: true });
  const z = {};
  for (const name of ["method", "style"]) if (o[name]) z[name] = o[name];
  if (o.topk !== "") z.topk = +o.topk;
  if (agent && Object.keys(z).length > 0) body.zerosearch = z;
  return body;
}

// isAgent says whether a model searches documents, by its name.
function isAgent(model) { return /(^|-)agent$/.test(model); }

// Refused is an error that the server answered with.
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// request asks the server for a path below the page's own address, and gives its answer.
async function request(path, options = {}) {
  const key = sessionKey(), headers = { ...options.headers };
  if (key) headers.Authorization = "Bearer " + key;
  const answer = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text.slice(0, 500);
  try { message = JSON.parse(text).error.message; } catch { /* no JSON: the text itself */ }
  throw new Refused(answer.status, message || "the server answered with status " + answer.status);
}

// generate sends a request and calls each with every event of the answer. It fails if the answer breaks off.
async function generate(body, signal, each) {
  const answer = await request("v1/chat/completions", { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal });
  const decoder = new TextDecoder(), reader = answer.body.getReader();
  let done = false;
  const read = sseReader(data => {
    if (data === "[DONE]") done = true;
    else {
      const event = JSON.parse(data);
      if (event.error) throw new Refused(0, event.error.message);
      each(event);
    }
  });
  for (;;) {
    const { value, done: end } = await reader.read();
    if (end) break;
    read(decoder.decode(value, { stream: true }));
  }
  if (!done) throw new Error("the connection ended before the answer did");
}
