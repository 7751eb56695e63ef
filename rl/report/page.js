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

  // range gives the steps and values at the ends of a chart's axes: its own, or those of the zoom.
  const range = svg => svg.zoomed || JSON.parse(svg.dataset.range);

  // place maps a step to its x coordinate.
  function place(svg) {
    const [left, right] = JSON.parse(svg.dataset.box), [first, last] = range(svg);
    return step => last === first ? (left + right) / 2 : left + (right - left) * (step - first) / (last - first);
  }

  // pointer gives the x coordinate of the mouse pointer, in units of the view box.
  function pointer(svg, event) {
    const box = svg.getBoundingClientRect();
    return (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
  }

  // curve gives the values of the step that is nearest to the mouse pointer.
  function curve(svg, event) {
    const labels = JSON.parse(svg.dataset.labels), [first, last] = range(svg);
    const points = JSON.parse(svg.dataset.points).filter(p => p[0] >= first && p[0] <= last);
    if (points.length === 0) return;
    const x = place(svg), at = pointer(svg, event);
    const p = points.reduce((a, b) => Math.abs(x(b[0]) - at) < Math.abs(x(a[0]) - at) ? b : a);
    const cursor = svg.querySelector(".cursor");
    cursor.setAttribute("x1", x(p[0]));
    cursor.setAttribute("x2", x(p[0]));
    cursor.setAttribute("visibility", "visible");
    show(event, "step " + p[0] + "\n" + labels.map((l, i) => l + "  " + digits(p[i + 1])).join("\n"));
  }

  // ticks are about n round numbers from lo to hi.
  function ticks(lo, hi, n) {
    if (!(hi > lo)) return [lo];
    const raw = (hi - lo) / n, unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * ([1, 2, 2.5, 5].find(f => raw <= f * unit * 1.0001) || 10);
    const out = [];
    for (let v = Math.ceil(lo / step - 1e-9) * step; v <= hi + step * 1e-9; v += step) out.push(v);
    return out;
  }

  // A zoom shows the steps from zoom[0] to zoom[1] in all charts; null: all steps.
  let zoom = null;
  const button = document.getElementById("zoom");

  // applyZoom redraws the axes of a chart and moves its plot.
  function applyZoom(svg) {
    const [left, right, top, bottom] = JSON.parse(svg.dataset.box), all = JSON.parse(svg.dataset.range);
    let [first, last, low, high] = all;
    svg.zoomed = null;
    if (zoom && zoom[1] > first && zoom[0] < last) {
      const points = JSON.parse(svg.dataset.points).filter(p => p[0] >= zoom[0] && p[0] <= zoom[1]);
      const values = points.flatMap(p => p.slice(1)).filter(v => v !== null);
      if (values.length > 0) {
        const min = Math.min(...values), max = Math.max(...values), margin = (max - min || Math.abs(max) || 1) * 0.08;
        svg.zoomed = [zoom[0], zoom[1], min - margin, max + margin];
        [first, last, low, high] = svg.zoomed;
      }
    }
    svg.closest("figure").classList.toggle("zoomed", svg.zoomed !== null);
    const x = v => left + (right - left) * (v - all[0]) / (all[1] - all[0] || 1), y = v => bottom - (bottom - top) * (v - all[2]) / (all[3] - all[2]);
    const plot = svg.querySelector(".plot"), box = svg.zoomed ? [x(first), y(high), x(last) - x(first), y(low) - y(high)] : [left, top, right - left, bottom - top];
    plot.setAttribute("viewBox", box.join(" "));
    if (svg.axes === undefined) svg.axes = [...svg.querySelectorAll(".grid, .axis")];
    svg.querySelectorAll(".grid, .axis").forEach(e => e.remove());
    if (!svg.zoomed) {
      svg.prepend(...svg.axes);
      return;
    }
    const add = (name, attributes, text) => {
      const e = document.createElementNS(svg.namespaceURI, name);
      for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
      if (text !== undefined) e.textContent = text;
      svg.prepend(e);
    };
    for (const v of ticks(low, high, 4)) {
      const at = bottom - (bottom - top) * (v - low) / (high - low);
      add("text", { class: "axis", x: left, dx: -6, y: at, dy: 4, "text-anchor": "end" }, digits(+v.toPrecision(12)));
      add("line", { class: "grid", x1: left, x2: right, y1: at, y2: at });
    }
    for (const v of ticks(first, last, 5)) {
      if (Number.isInteger(v)) add("text", { class: "axis", x: place(svg)(v), y: bottom, dy: 17, "text-anchor": "middle" }, v);
    }
  }

  function zoomTo(steps) {
    zoom = steps;
    document.querySelectorAll("svg[data-points]").forEach(applyZoom);
    button.hidden = zoom === null;
    button.textContent = zoom ? "steps " + zoom[0] + " to " + zoom[1] + "  ✕" : "";
  }
  button.addEventListener("click", () => zoomTo(null));
  document.addEventListener("dblclick", event => { if (event.target.closest("svg[data-points]")) zoomTo(null); });

  // Drawing the pointer over a part of a chart zooms into it.
  let drag = null; // the chart, where it began, and the rectangle that shows it
  document.addEventListener("pointerdown", event => {
    const svg = event.button === 0 && event.target instanceof Element && event.target.closest("svg[data-points]");
    if (!svg) return;
    const [, , top, bottom] = JSON.parse(svg.dataset.box), r = document.createElementNS(svg.namespaceURI, "rect");
    r.setAttribute("class", "selection");
    r.setAttribute("y", top);
    r.setAttribute("height", bottom - top);
    drag = { svg, from: pointer(svg, event), r };
    svg.append(r);
  });
  const inside = (svg, at) => { const [left, right] = JSON.parse(svg.dataset.box); return Math.min(right, Math.max(left, at)); };
  document.addEventListener("pointermove", event => {
    if (!drag) return;
    const a = inside(drag.svg, drag.from), b = inside(drag.svg, pointer(drag.svg, event));
    drag.r.setAttribute("x", Math.min(a, b));
    drag.r.setAttribute("width", Math.abs(a - b));
  });
  function endDrag(event) {
    if (!drag) return;
    const { svg, from, r } = drag;
    drag = null;
    r.remove();
    const [left, right] = JSON.parse(svg.dataset.box), [first, last] = range(svg);
    const a = inside(svg, from), b = inside(svg, pointer(svg, event));
    if (event.type !== "pointerup" || Math.abs(a - b) < 12) return;
    const step = at => first + (at - left) / (right - left) * (last - first);
    const lo = Math.floor(step(Math.min(a, b))), hi = Math.ceil(step(Math.max(a, b)));
    if (hi > lo) zoomTo([Math.max(first, lo), Math.min(last, hi)]);
  }
  document.addEventListener("pointerup", endDrag);
  document.addEventListener("pointercancel", endDrag);

  // Episodes are filtered by what the form says, and shown a page at a time.
  const perPage = 8;
  let page = 0, wanted = { step: null, kind: "", text: "" };

  function applyFilter() {
    const form = document.getElementById("filter");
    if (!form) return;
    if (wanted.step === null) wanted.step = form.elements.step.options.length > 2 ? form.elements.step.options[1].value : "";
    for (const name of ["step", "kind", "text"]) if (document.activeElement !== form.elements[name]) form.elements[name].value = wanted[name];
    const words = wanted.text.toLowerCase().split(/\s+/).filter(w => w), all = [...document.querySelectorAll("#browse .episode")];
    const kinds = { searched: d => d.searches > 0, unsearched: d => +d.searches === 0, noisy: d => d.noisy > 0 };
    const match = e => (wanted.step === "" || e.dataset.step === wanted.step)
      && (wanted.kind === "" || (kinds[wanted.kind] ? kinds[wanted.kind](e.dataset) : e.dataset.kind === wanted.kind))
      && words.every(w => e.textContent.toLowerCase().includes(w));
    const found = all.filter(match), pages = Math.max(1, Math.ceil(found.length / perPage));
    page = Math.min(page, pages - 1);
    const now = new Set(found.slice(page * perPage, (page + 1) * perPage));
    for (const e of all) e.hidden = !now.has(e);
    document.getElementById("found").textContent = found.length + " of " + all.length + " episodes";
    const bar = document.getElementById("pages");
    bar.hidden = pages === 1;
    bar.querySelector("span").textContent = (page + 1) + " of " + pages;
    const [previous, next] = bar.querySelectorAll("button");
    previous.disabled = page === 0;
    next.disabled = page === pages - 1;
  }
  document.addEventListener("input", event => {
    if (!event.target.closest("#filter")) return;
    wanted[event.target.name] = event.target.value;
    page = 0;
    applyFilter();
  });
  document.addEventListener("submit", event => event.preventDefault());
  document.addEventListener("click", event => {
    const turn = event.target instanceof Element && event.target.closest("#pages button");
    if (!turn) return;
    page += +turn.dataset.to;
    applyFilter();
    document.getElementById("browse").scrollIntoView();
  });
  applyFilter();

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
    if (svg && !drag) curve(svg, event);
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
    if (zoom) zoomTo(zoom);
    applyFilter();
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
