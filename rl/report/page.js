"use strict";
(() => {
  const tip = document.getElementById("tip");

  // show places the tooltip beside the mouse pointer, inside the window.
  function show(event, text) {
    tip.textContent = text;
    tip.hidden = false;
    const w = tip.offsetWidth, h = tip.offsetHeight, x = event.clientX, y = event.clientY;
    tip.style.left = Math.max(4, x + 16 + w > innerWidth ? x - w - 12 : x + 16) + "px";
    tip.style.top = Math.max(4, y + 16 + h > innerHeight ? y - h - 12 : y + 16) + "px";
  }

  const digits = v => v === null ? "–" : Math.abs(v) >= 1e-3 && Math.abs(v) < 1e6 || v === 0 ? String(+v.toPrecision(4)) : v.toExponential(2);

  // curve gives the values of the step that is nearest to the mouse pointer.
  function curve(svg, event) {
    const points = JSON.parse(svg.dataset.points), labels = JSON.parse(svg.dataset.labels);
    const [left, right, top, bottom] = JSON.parse(svg.dataset.box), [first, last, low, high] = JSON.parse(svg.dataset.range);
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const x = step => last === first ? (left + right) / 2 : left + (right - left) * (step - first) / (last - first);
    const at = (event.clientX - box.left) * scale;
    const p = points.reduce((a, b) => Math.abs(x(b[0]) - at) < Math.abs(x(a[0]) - at) ? b : a);
    const cursor = svg.querySelector(".cursor");
    cursor.setAttribute("x1", x(p[0]));
    cursor.setAttribute("x2", x(p[0]));
    cursor.setAttribute("visibility", "visible");
    show(event, "step " + p[0] + "\n" + labels.map((l, i) => l + "  " + digits(p[i + 1])).join("\n"));
  }

  // token gives the id, the probability and the advantage of a token.
  function token(t, event) {
    const d = t.dataset, lines = [JSON.stringify(t.textContent) + "  id " + d.i];
    if (d.l !== undefined) lines.push("log-prob " + digits(+d.l) + "  (p = " + digits(Math.exp(+d.l)) + ")");
    lines.push(d.a !== undefined ? "advantage " + digits(+d.a) : "not trained on: its group was dropped, or is a zero-variance group (equal rewards)");
    show(event, lines.join("\n"));
  }

  document.addEventListener("pointermove", event => {
    const at = event.target instanceof Element ? event.target : document.body;
    const svg = at.closest("svg[data-points]"), t = at.closest(".t[data-i]");
    document.querySelectorAll(".cursor[visibility=visible]").forEach(c => { if (!svg || !svg.contains(c)) c.setAttribute("visibility", "hidden"); });
    if (svg) curve(svg, event);
    else if (t) token(t, event);
    else if (at.closest(".text .obs, .text.obs")) show(event, "not written by the policy: masked, not trained on");
    else tip.hidden = true;
  });
  document.addEventListener("pointerleave", () => { tip.hidden = true; });

  // A live page asks for a new version and replaces the sections that have changed; unfolded parts stay unfolded.
  const root = document.documentElement;
  if (root.dataset.live === undefined) return;
  const sections = doc => new Map([...doc.querySelectorAll("section[id]")].map(s => [s.id, s]));
  const sent = new Map([...sections(document)].map(([id, s]) => [id, s.outerHTML]));
  let missed = 0;

  function replace(next) {
    const open = new Map([...document.querySelectorAll("details[data-key]")].map(d => [d.dataset.key, d.open]));
    const here = sections(document), main = document.querySelector("main");
    let before = null;
    for (const [id, s] of sections(next)) {
      const html = s.outerHTML, old = here.get(id);
      if (!old || sent.get(id) !== html) {
        sent.set(id, html);
        const fresh = document.importNode(s, true);
        fresh.querySelectorAll("details[data-key]").forEach(d => { if (open.has(d.dataset.key)) d.open = open.get(d.dataset.key); });
        if (old) old.replaceWith(fresh);
        else if (before) before.after(fresh);
        else main.prepend(fresh);
        before = fresh;
      } else before = old;
    }
  }

  async function poll() {
    const live = () => document.getElementById("live");
    try {
      const answer = await fetch("?since=" + root.dataset.live, { cache: "no-store" });
      if (answer.status === 200) {
        const next = new DOMParser().parseFromString(await answer.text(), "text/html");
        root.dataset.live = next.documentElement.dataset.live;
        replace(next);
      } else if (answer.status !== 204) throw new Error(answer.status);
      missed = 0;
    } catch {
      missed++;
    }
    if (live()) {
      live().classList.toggle("over", missed > 1);
      live().textContent = missed > 1 ? "the run has ended: this is how it stood" : "live";
    }
    setTimeout(poll, missed > 1 ? 5000 : 1500);
  }
  setTimeout(poll, 1500);
})();
