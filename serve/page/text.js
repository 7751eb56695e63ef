// A small reader of Markdown. It makes a tree, which view.js turns into elements: no text ever becomes HTML.

// blocks reads a text into paragraphs, headings, lists, quotes, tables and code. depth counts the quotes around it.
function blocks(text, depth = 0) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n"), out = [];
  let paragraph = [];
  const flush = () => {
    if (paragraph.length > 0) out.push({ kind: "p", spans: spans(paragraph.join("\n")) });
    paragraph = [];
  };
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i];
    let m;
    if ((m = /^ {0,3}(```+|~~~+)\s*([^`]*)$/.exec(line))) {
      flush();
      const code = [];
      for (i++; i < lines.length && !(lines[i].trim().startsWith(m[1]) && lines[i].trim().replaceAll(m[1][0], "") === ""); i++) code.push(lines[i]);
      out.push({ kind: "code", language: m[2].trim(), text: code.join("\n") });
    } else if (line.trim() === "") {
      flush();
    } else if ((m = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line))) {
      flush();
      out.push({ kind: "heading", level: m[1].length, spans: spans(m[2]) });
    } else if (/^ {0,3}([-*_])( *\1){2,} *$/.test(line)) {
      flush();
      out.push({ kind: "rule" });
    } else if (/^ {0,3}>/.test(line) && depth < 4) {
      flush();
      const quoted = [];
      for (; i < lines.length && /^ {0,3}>/.test(lines[i]); i++) quoted.push(lines[i].replace(/^ {0,3}> ?/, ""));
      i--;
      out.push({ kind: "quote", blocks: blocks(quoted.join("\n"), depth + 1) });
    } else if (item(line)) {
      flush();
      const items = [];
      for (; i < lines.length; i++) {
        const next = item(lines[i]);
        if (next) items.push(next);
        else if (lines[i].trim() === "" && i + 1 < lines.length && item(lines[i + 1])) continue;
        else if (/^\s+\S/.test(lines[i])) items.at(-1).text += "\n" + lines[i].trim();
        else break;
      }
      i--;
      for (let at = 0; at < items.length;) {
        const [list, end] = listOf(items, at);
        out.push(list);
        at = end;
      }
    } else if (cells(line) && i + 1 < lines.length && /^[\s:|-]*-[\s:|-]*$/.test(lines[i + 1]) && cells(lines[i + 1])) {
      flush();
      const rows = [cells(line)];
      for (i += 2; i < lines.length && cells(lines[i]); i++) rows.push(cells(lines[i]));
      i--;
      out.push({ kind: "table", rows: rows.map(row => row.map(spans)) });
    } else paragraph.push(line);
  }
  flush();
  return out;
}

// item is a line of a list: its indentation, its number (null for a bullet) and its text; null: it is none.
function item(line) {
  const m = /^(\s*)(?:[-*+•]|(\d{1,9})[.)])\s+(.*)$/.exec(line);
  return m && { indent: Math.min(m[1].replaceAll("\t", "    ").length, 24), number: m[2] === undefined ? null : +m[2], text: m[3] };
}

// listOf is the list that begins with items[at], with the lists inside it, and where it ends.
function listOf(items, at) {
  const first = items[at], list = { kind: first.number === null ? "ul" : "ol", start: first.number, items: [] };
  while (at < items.length) {
    const it = items[at];
    if (it.indent > first.indent + 1) {
      const [inner, end] = listOf(items, at);
      list.items.at(-1).lists.push(inner);
      at = end;
    } else if (it.indent < first.indent - 1 || (it.number === null) !== (first.number === null)) break;
    else {
      list.items.push({ spans: spans(it.text), lists: [] });
      at++;
    }
  }
  return [list, at];
}

// cells are those of a line of a table; null: it is none.
function cells(line) {
  const t = line.trim();
  if (!t.startsWith("|") || t.length < 3) return null;
  return t.replace(/^\||\|$/g, "").split("|").map(c => c.trim());
}

// Lengths are bounded so that no text takes long.
const inline = /(`{1,3})(.{1,500}?)\1(?!`)|\*\*(\S(?:.{0,500}?\S)?)\*\*|(?<![\w*])\*([^\s*](?:[^*]{0,300}[^\s*])?)\*(?![\w*])|(?<!\w)_([^\s_](?:[^_]{0,300}[^\s_])?)_(?!\w)|\[(\d{1,4}(?:\.\d{1,4})?(?:, ?\d{1,4}(?:\.\d{1,4})?){0,20})\](?!\()/gs;

// spans reads the text of a paragraph into text, code, strong and emphasised parts, and marks such as [2] of documents.
function spans(text) {
  const out = [];
  let from = 0;
  const plain = to => { if (to > from) out.push({ kind: "text", text: text.slice(from, to) }); };
  for (const m of text.matchAll(inline)) {
    plain(m.index);
    from = m.index + m[0].length;
    if (m[2] !== undefined) out.push({ kind: "code", text: m[2] });
    else if (m[3] !== undefined) out.push({ kind: "strong", spans: spans(m[3]) });
    else if (m[6] !== undefined) for (const id of m[6].split(/, ?/)) out.push({ kind: "cite", id, text: "[" + id + "]" });
    else out.push({ kind: "em", spans: spans(m[4] ?? m[5]) });
  }
  plain(text.length);
  return out;
}
