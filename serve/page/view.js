// Elements for messages. Text of a model or of a document is set as text only (textContent), never parsed as HTML.

// el makes an element with a class, its children being elements or texts.
function el(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  e.append(...children);
  return e;
}

// elements makes the elements of spans. cite makes the element of a mark of a document.
function elements(list, cite) {
  return list.map(s => {
    switch (s.kind) {
      case "code": return el("code", "", s.text);
      case "strong": case "em": return el(s.kind, "", ...elements(s.spans, cite));
      case "cite": return cite(s);
    }
    return s.text;
  });
}

// element makes the element of a block.
function element(b, cite) {
  switch (b.kind) {
    case "p": return el("p", "lines", ...elements(b.spans, cite));
    case "heading": {
      const e = el("div", "heading h" + b.level, ...elements(b.spans, cite));
      e.setAttribute("role", "heading");
      e.setAttribute("aria-level", Math.min(b.level + 2, 6));
      return e;
    }
    case "rule": return el("hr");
    case "quote": return el("blockquote", "", ...b.blocks.map(x => element(x, cite)));
    case "ul": case "ol": {
      const list = el(b.kind, "", ...b.items.map(i => el("li", "lines", ...elements(i.spans, cite), ...i.lists.map(x => element(x, cite)))));
      if (b.kind === "ol" && b.start !== 1) list.start = b.start;
      return list;
    }
    case "table": return scrolling("table", "Table", el("table", "", ...b.rows.map((row, i) => el("tr", "", ...row.map(c => el(i ? "td" : "th", "", ...elements(c, cite)))))));
    case "code": {
      const copy = el("button", "", "Copy");
      copy.type = "button";
      copy.setAttribute("aria-label", "Copy this code");
      copy.addEventListener("click", () => copyText(b.text, copy));
      const pre = scrolling("", b.language ? "Code, " + b.language : "Code", el("code", "", b.text), "pre");
      return el("div", "code", pre, copy);
    }
  }
  throw new Error("no element for " + b.kind);
}

// scrolling is a box that scrolls sideways, by keys too.
function scrolling(className, label, child, tag = "div") {
  const e = el(tag, className, child);
  e.tabIndex = 0;
  e.setAttribute("role", "region");
  e.setAttribute("aria-label", label);
  return e;
}

// copyText copies a text and says so on the button.
async function copyText(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // pages that came by http from another machine have no clipboard
    const area = el("textarea", "unseen");
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  say(done ? "Copied" : "The browser does not allow to copy");
  if (!button) return;
  const label = button.textContent;
  button.textContent = done ? "Copied" : "Not allowed";
  button.disabled = true;
  setTimeout(() => { button.textContent = label; button.disabled = false; button.focus({ preventScroll: true }); }, 1200);
}

// say announces a text to screen readers.
function say(text) { document.getElementById("status").textContent = text; }

// questionView is the element of a question.
function questionView(m) {
  const e = el("article", "message mine", m.text);
  e.setAttribute("aria-label", "Your message");
  e.dir = "auto";
  return e;
}

// answerView shows an answer. update shows what has been added to it; live says that more is to come.
function answerView(m, number) {
  const node = el("article", "message");
  node.setAttribute("aria-label", "Answer by " + m.model);
  node.dir = "auto";
  const wait = el("div", "wait quiet"), parts = [];
  node.append(wait);

  // cite makes a mark of a document: a link if the answer has this document.
  const cite = s => {
    const at = documentOf(m.parts, s.id);
    if (!at) return s.text;
    const [part, d] = at, a = el("a", "cite", s.text), found = m.parts[part].documents[d];
    a.href = "#" + documentID(number, part, d);
    a.setAttribute("aria-label", "document " + s.id + ": " + found.title);
    a.title = found.title + (found.source ? " – " + found.source : "");
    return a;
  };

  const makers = {
    thought: () => {
      const text = el("div"), e = el("details", "thought", el("summary", "", "Thought"), text);
      e.open = true;
      return { e, update: p => { if (text.textContent !== p.text.trim()) text.textContent = p.text.trim(); }, close: () => { e.open = false; } };
    },
    search: at => {
      const query = el("b"), count = el("span", "quiet"), list = el("div");
      const e = el("section", "search", el("p", "query", el("span", "verb", "Searched"), query, count), list);
      e.setAttribute("aria-label", "Search");
      query.dir = "auto";
      let shown = "";
      return { e, update: p => {
        query.textContent = p.query || "…";
        const cited = citedIn(m.parts, at), now = JSON.stringify([p.documents, [...cited]]);
        if (now === shown) return;
        shown = now;
        const n = p.documents?.length ?? 0;
        count.textContent = !p.documents ? "searching…" : n === 0 ? "nothing found" : n + (n === 1 ? " document" : " documents") + (cited.size ? ", " + cited.size + " cited" : "");
        const open = new Set([...list.children].map((d, i) => d.open ? i : -1));
        list.replaceChildren(...(p.documents ?? []).map((d, i) => documentView(d, documentID(number, at, i), cited.has(i), open.has(i))));
      } };
    },
    note: () => {
      const e = el("p", "note");
      return { e, update: p => { e.textContent = p.text; } };
    },
    answer: () => {
      const thought = makers.thought(), text = el("div", "answer"), e = el("div", "", thought.e, text);
      let shown = [];
      thought.e.hidden = true;
      return { e, update: p => {
        const cut = splitThought(p.text);
        thought.e.hidden = cut.thought === "";
        thought.update({ text: cut.thought });
        const next = blocks(cut.answer).map(b => [JSON.stringify(b), b]);
        let same = 0; // blocks that have not changed keep their elements, and with them what the user has selected
        while (same < next.length && same < shown.length && next[same][0] === shown[same]) same++;
        while (text.children.length > same) text.lastChild.remove();
        text.append(...next.slice(same).map(x => element(x[1], cite)));
        shown = next.map(x => x[0]);
      }, close: thought.close, cites: () => { shown = []; } };
    },
  };

  const tools = el("div", "tools");
  function update(live) {
    const before = parts.length;
    m.parts.forEach((p, i) => {
      if (!parts[i]) {
        parts[i] = makers[p.kind](i);
        wait.before(parts[i].e);
      }
      parts[i].update(p);
    });
    if (parts.length > before && before > 0 && m.parts[before].kind === "answer") parts.slice(0, before).forEach(p => p.close?.());
    node.classList.toggle("live", live);
    node.setAttribute("aria-busy", live);
    wait.hidden = !live || m.parts.at(-1)?.kind === "answer";
    wait.textContent = m.parts.length === 0 ? "waiting for the first token" : "";
  }

  // finish shows how the answer ended. actions are the buttons below it: [label, what it does].
  function finish(actions) {
    update(false);
    parts.forEach(p => p.close?.());
    for (const p of parts) p.cites?.();
    update(false); // marks that came before their documents become links
    node.querySelectorAll(":scope > .ending").forEach(e => e.remove());
    const add = (text, bad) => node.append(el("p", "ending note" + (bad ? " bad" : ""), text));
    const unmarked = node.querySelector("a.cite") ? [] : m.parts.flatMap(p => p.documents ?? []).filter(d => d.cited);
    if (unmarked.length > 0) {
      const ids = [...new Set(unmarked.map(d => d.id))];
      node.append(el("p", "ending quiet", "It stands in ", ...ids.map(id => cite({ id, text: "[" + id + "]" }))));
    }
    if (m.end === "error") add(m.error, true);
    else if (m.end === "stopped") add("Stopped.");
    else if (m.end === "length") add("The limit on tokens ended this answer.");
    else if (answerOf(m.parts).trim() === "") add("The model gave no answer.");
    if (m.warning) add(m.warning[0].toUpperCase() + m.warning.slice(1) + ".");
    tools.replaceChildren(...actions.map(([label, run]) => {
      const b = el("button", "", label);
      b.type = "button";
      b.addEventListener("click", () => run(b));
      return b;
    }), el("span", "quiet", figures(m)));
    node.append(tools);
  }
  // said is the answer as a screen reader should say it.
  const said = () => [...node.querySelectorAll(".answer")].map(e => e.innerText).join(" ");
  return { node, update, finish, said };
}

// figures says who wrote an answer, how long it is and how fast it came.
function figures(m) {
  const n = m.usage?.completion_tokens, out = [m.model];
  if (m.method) out.push(m.method);
  if (n) out.push(n + (n === 1 ? " token" : " tokens"));
  if (n > 1 && m.seconds > 0) out.push(rate(n / m.seconds) + " a second");
  return out.join(" · ");
}

function rate(v) { return v < 10 ? v.toFixed(1) : String(Math.round(v)); }

function documentID(number, part, d) { return "document-" + number + "-" + part + "-" + d; }

// citedIn are the numbers of the documents of a search that the server or a mark in the answer cites.
function citedIn(parts, at) {
  const cited = new Set(parts[at].documents?.flatMap((d, i) => d.cited ? [i] : []));
  for (const m of answerOf(parts).matchAll(/\[(\d[\d., ]*)\]/g)) {
    for (const id of m[1].split(/, ?/)) {
      const found = documentOf(parts, id);
      if (found && found[0] === at) cited.add(found[1]);
    }
  }
  return cited;
}

function documentView(d, id, cited, open) {
  const title = el("span", "title", d.title || d.passage.slice(0, 80) || "without a title");
  const names = el("span", "names", title), head = el("summary", "", el("span", "number", d.id), names);
  title.dir = "auto";
  if (d.source) {
    const source = el("span", "quiet", d.source.split(/[\\/]/).slice(-2).join("/"));
    source.title = d.source;
    names.append(source);
  }
  if (cited) names.append(el("span", "mark", "cited"));
  const text = el("p", "passage", d.passage), e = el("details", "document" + (cited ? " cited" : ""), head, text);
  e.id = id;
  e.open = open;
  return e;
}
