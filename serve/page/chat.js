// The conversation: what is kept, sent and shown, and the keys.

const $ = id => document.getElementById(id);
const log = $("log"), box = $("message"), options = $("options").querySelectorAll("[name]");
const kept = "zerosearch.conversation", keptKey = "zerosearch.key";
const defaults = { model: "", messages: [], options: { method: "", style: "", topk: "", temperature: "", max: "", system: "" } };
let state = load(), views = [], running = null, recalled = -1;

// load reads the conversation that this browser keeps; a damaged one is given up.
function load() {
  try {
    const s = JSON.parse(localStorage.getItem(kept));
    const good = m => m.role === "user" && typeof m.text === "string" || m.role === "assistant" && Array.isArray(m.parts);
    if (s && Array.isArray(s.messages) && s.messages.every(good)) return { ...defaults, ...s, options: { ...defaults.options, ...s.options } };
  } catch { /* nothing is kept, or it may not be read */ }
  return structuredClone(defaults);
}
function save() {
  try {
    localStorage.setItem(kept, JSON.stringify(state));
  } catch { /* the storage is full or not allowed: the conversation lives as long as the page */ }
}
let memoryKey = "";
function sessionKey() {
  try { return sessionStorage.getItem(keptKey) || memoryKey; } catch { return memoryKey; }
}

// askKey asks for the server's key, and again after a wrong one.
function askKey(wrong) {
  $("keynote").textContent = wrong ? "The server does not know this key." : "It stays in this tab, and goes to this server only.";
  if (!$("keybox").open) $("keybox").showModal();
}
$("keyform").addEventListener("submit", event => {
  event.preventDefault();
  memoryKey = $("key").value.trim();
  try { sessionStorage.setItem(keptKey, memoryKey); } catch { /* kept in memory */ }
  $("key").value = "";
  $("keybox").close();
  loadModels();
});

// loadModels fills the list of models.
async function loadModels() {
  const select = $("model");
  try {
    const { data } = await (await request("v1/models")).json();
    select.replaceChildren(...data.map(m => new Option(m.id)));
    select.disabled = false;
    const named = id => data.some(m => m.id === id);
    select.value = named(state.model) ? state.model : (data.find(m => isAgent(m.id)) ?? data[0]).id;
    chooseModel();
    notice("");
    box.focus({ preventScroll: true });
  } catch (error) {
    if (error.status === 401) return askKey(sessionKey() !== "");
    notice(error.status ? error.message : "The server cannot be reached.", loadModels);
  }
}

// notice shows a problem of the server above the message box, with a button that tries again.
function notice(text, again) {
  $("notice")?.remove();
  if (!text) return;
  const b = el("button", "", "Try again"), n = el("p", "note bad", text + " ", b);
  n.id = "notice";
  n.setAttribute("role", "alert");
  b.type = "button";
  b.addEventListener("click", again);
  $("composer").prepend(n);
}

function chooseModel() {
  state.model = $("model").value;
  const agent = isAgent(state.model);
  document.querySelectorAll(".of-agent").forEach(e => { e.hidden = !agent; });
  document.querySelectorAll(".of-chat").forEach(e => { e.hidden = agent; });
  $("temperature").placeholder = agent ? "the server's" : usualTemperature;
  $("greeting").textContent = agent ? "Ask your documents" : "Ask something";
  $("about").textContent = agent ? "The model searches for documents. You see its searches, what it found, and which documents the answer stands on." : "The model answers from its memory: check what it says.";
  box.placeholder = agent ? "Ask your documents" : "Message " + state.model;
}
$("model").addEventListener("change", () => { chooseModel(); save(); });

// show draws the whole conversation.
function show() {
  views = state.messages.map((m, i) => m.role === "user" ? { node: questionView(m) } : answerView(m, i));
  $("welcome").hidden = views.length > 0;
  log.replaceChildren($("welcome"), ...views.map(v => v.node));
  state.messages.forEach((m, i) => { if (m.role === "assistant") finish(i); });
}

// finish shows the end of an answer. Only the last answer can be asked for again or go on.
function finish(i) {
  const m = state.messages[i], text = answerOf(m.parts), actions = [];
  if (text !== "") actions.push(["Copy", b => copyText(text, b)]);
  if (i === state.messages.length - 1) {
    actions.push(["Try again", again]);
    if (text !== "" && (m.end === "length" || m.end === "stopped") && !isAgent(m.model)) actions.push(["Go on", () => answer(true)]);
  }
  views[i].finish(actions);
}

function again() {
  if (running) return;
  state.messages.pop();
  views.pop().node.remove();
  answer(false);
}

const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 100;
const toEnd = () => scrollTo(0, document.documentElement.scrollHeight);

// send asks what the message box says.
function send() {
  const text = box.value.trim(), wrong = [...options].find(o => !o.checkValidity());
  if (wrong) {
    $("options").open = true;
    wrong.reportValidity();
  }
  if (text === "" || running || wrong || !state.model) return;
  const last = state.messages.length - 1;
  state.messages.push({ role: "user", text });
  if (last >= 0) finish(last);
  const v = { node: questionView(state.messages.at(-1)) };
  views.push(v);
  log.append(v.node);
  $("welcome").hidden = true;
  box.value = "";
  grow();
  recalled = -1;
  answer(false);
}

// answer asks for the answer to the conversation, or lets the last one go on, and shows it as it comes.
async function answer(resume) {
  if (running) return;
  if (!resume) {
    state.messages.push({ role: "assistant", model: state.model, parts: [] });
    views.push(answerView(state.messages.at(-1), state.messages.length - 1));
    log.append(views.at(-1).node);
  }
  const at = state.messages.length - 1, m = state.messages[at], view = views[at], before = m.usage?.completion_tokens ?? 0;
  const body = requestOf(m.model, resume ? state.messages : state.messages.slice(0, -1), state.options, resume);
  m.end = "stopped"; // until it ends; so it is kept if the page is closed now
  running = new AbortController();
  busy(true);
  toEnd();
  save();
  say("Waiting for an answer");
  let first = 0, frame = 0, savedAt = Date.now(), searches = 0, finished = "", over = false;
  const draw = () => {
    frame = 0;
    if (over) return;
    const follow = atEnd();
    view.update(true);
    if (follow) toEnd();
    if (Date.now() - savedAt > 2000) {
      savedAt = Date.now();
      save();
    }
    const found = m.parts.filter(p => p.kind === "search");
    if (found.length > searches) say("Searching: " + found.at(-1).query);
    searches = found.length;
  };
  draw();
  try {
    await generate(body, running.signal, event => {
      const c = event.choices?.[0];
      if (event.zerosearch) applyAgent(m, event.zerosearch);
      if (event.usage) m.usage = { completion_tokens: event.usage.completion_tokens + before };
      if (!c) return;
      if (!first) first = performance.now();
      applyDelta(m.parts, c.delta ?? {});
      if (c.finish_reason) finished = c.finish_reason;
      frame ||= document.hidden ? setTimeout(draw, 200) : requestAnimationFrame(draw);
    });
    m.end = finished || "stop";
  } catch (error) {
    if (error.name === "AbortError") m.end = "stopped";
    else {
      m.end = "error";
      m.error = error.status === undefined ? "The answer broke off: " + (error.message || error) : error.message;
      if (error.status === 401) askKey(true);
    }
  }
  if (first) m.seconds = (m.seconds ?? 0) + (performance.now() - first) / 1000;
  running = null;
  over = true; // a drawing that is still due would show it as going on
  const follow = atEnd();
  if (views[at] === view) finish(at); // it is not, if a new conversation was begun
  if (follow) toEnd();
  busy(false);
  save();
  say(m.end === "error" ? m.error : m.end === "stopped" ? "Stopped" : "Answer: " + view.said().slice(0, 2000));
}

// busy shows the button that stops in place of the one that sends.
function busy(now) {
  const focused = [$("send"), $("stop")].includes(document.activeElement);
  $("send").hidden = now;
  $("stop").hidden = !now;
  if (focused || document.activeElement === document.body) box.focus({ preventScroll: true });
}

function stop() { running?.abort(); }

function startAnew() {
  stop();
  state.messages = [];
  show();
  save();
  box.focus();
  say("New conversation");
}

// grow makes the message box as high as its text, where the browser does not do it.
function grow() {
  if (CSS.supports("field-sizing", "content")) return;
  box.style.height = "auto";
  box.style.height = box.scrollHeight + 2 + "px";
}

// recall puts an earlier question into the message box.
function recall(by) {
  const asked = state.messages.filter(m => m.role === "user").map(m => m.text).reverse();
  const next = recalled + by;
  if (next < -1 || next >= asked.length) return;
  recalled = next;
  box.value = recalled < 0 ? "" : asked[recalled];
  box.setSelectionRange(box.value.length, box.value.length);
  grow();
}

$("composer").addEventListener("submit", event => {
  event.preventDefault();
  send();
});
$("stop").addEventListener("click", stop);
$("new").addEventListener("click", startAnew);
box.addEventListener("input", () => { recalled = -1; grow(); });
box.addEventListener("keydown", event => {
  if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    send();
  } else if (event.key === "ArrowUp" && (box.value === "" || recalled >= 0)) {
    event.preventDefault();
    recall(1);
  } else if (event.key === "ArrowDown" && recalled >= 0) {
    event.preventDefault();
    recall(-1);
  }
});
document.addEventListener("keydown", event => {
  if ($("keybox").open || event.isComposing) return;
  if (event.key === "Escape") {
    if (running) stop();
    else box.focus();
    return;
  }
  if (!event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const keys = {
    KeyN: startAnew,
    KeyM: () => $("model").focus(),
    KeyO: () => { $("options").open = !$("options").open; ($("options").open ? [...options].find(o => o.offsetParent) : box).focus(); },
    KeyC: () => {
      const last = state.messages.findLast(m => m.role === "assistant" && answerOf(m.parts) !== "");
      if (last) copyText(answerOf(last.parts));
    },
  };
  if (!keys[event.code]) return;
  event.preventDefault();
  keys[event.code]();
});
for (const o of options) {
  o.value = state.options[o.name];
  o.addEventListener("change", () => {
    state.options[o.name] = o.value;
    save();
  });
}

// A mark of a document opens it.
log.addEventListener("click", event => {
  const a = event.target instanceof Element && event.target.closest("a.cite");
  if (!a) return;
  event.preventDefault();
  const d = $(a.hash.slice(1));
  d.open = true;
  d.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  d.querySelector("summary").focus({ preventScroll: true });
});
addEventListener("pagehide", () => { if (running) save(); });

show();
grow();
if (views.length > 0) toEnd();
loadModels();
