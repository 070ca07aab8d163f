/**
 * The little that runs in the page: a cursor over the charts that reads the tables behind them, and zoom and search in flame graphs. It only
 * moves what is there; texts go in as text. Without it the page is whole.
 */
export const SCRIPT = `
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const charts = [...document.querySelectorAll("figure.chart")].map((figure) => {
    const numbers = (name) => figure.dataset[name].split(" ").map(Number);
    const rows = [...figure.querySelectorAll("tr[data-t]")];
    const heads = [...figure.querySelectorAll("thead th")].slice(1).map((head) => head.textContent);
    const svg = figure.querySelector("svg[viewBox]");
    const cursor = document.createElementNS(SVG, "path");
    cursor.setAttribute("class", "cursor");
    svg.append(cursor);
    return { figure, svg, rows, heads, cursor, x: numbers("x"), y: numbers("y"), from: Number(figure.dataset.from), to: Number(figure.dataset.to),
      times: rows.map((row) => Number(row.dataset.t)), out: figure.querySelector("output") };
  });
  const nearest = (times, time) => times.reduce((best, one, i) => (Math.abs(one - time) < Math.abs(times[best] - time) ? i : best), 0);
  const show = (chart, time) => {
    if (chart.rows.length === 0) return;
    const row = chart.rows[nearest(chart.times, time)];
    const at = Number(row.dataset.t);
    const x = chart.x[0] + ((chart.x[1] - chart.x[0]) * (at - chart.from)) / Math.max(1, chart.to - chart.from);
    chart.cursor.setAttribute("d", "M" + x + " " + chart.y[0] + "V" + chart.y[1]);
    const cells = [...row.children].map((cell) => cell.textContent.trim());
    chart.out.textContent = cells[0] + "  " + chart.heads.map((head, i) => head + " " + cells[i + 1]).join("  ");
    chart.at = at;
  };
  for (const chart of charts) {
    chart.svg.addEventListener("pointermove", (event) => {
      const box = chart.svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * chart.svg.viewBox.baseVal.width;
      const time = chart.from + ((x - chart.x[0]) / (chart.x[1] - chart.x[0])) * (chart.to - chart.from);
      for (const one of charts) show(one, time);
    });
    chart.svg.addEventListener("focus", () => chart.out.setAttribute("aria-live", "polite"));
    chart.svg.addEventListener("blur", () => chart.out.removeAttribute("aria-live"));
    chart.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined || chart.rows.length === 0) return;
      event.preventDefault();
      const at = chart.at === undefined ? (step > 0 ? -1 : chart.rows.length) : nearest(chart.times, chart.at);
      const time = chart.times[Math.max(0, Math.min(chart.rows.length - 1, at + step))];
      for (const one of charts) show(one, time);
    });
  }
  for (const figure of document.querySelectorAll("figure.flame")) {
    const svg = figure.querySelector("svg");
    const width = svg.viewBox.baseVal.width;
    const [tools, input, button, out] = [".tools", "input", "button", "output"].map((one) => figure.querySelector(one));
    tools.hidden = false;
    const boxes = [...figure.querySelectorAll(".box")].map((group) => {
      const title = group.querySelector("title").textContent;
      const { x, w, d } = group.dataset;
      return { group, title, name: title.slice(0, title.lastIndexOf(": ")), x: Number(x), w: Number(w), d: Number(d), rect: group.querySelector("rect"), text: group.querySelector("text") };
    });
    const root = boxes[0];
    const zoom = (to) => {
      for (const box of boxes) {
        const above = box.d < to.d && box.x <= to.x && box.x + box.w >= to.x + to.w;
        const inside = box.d >= to.d && box.x >= to.x && box.x + box.w <= to.x + to.w;
        box.group.classList.toggle("gone", !above && !inside);
        box.group.classList.toggle("dim", above);
        const left = above ? 0 : ((box.x - to.x) / to.w) * width;
        const wide = above ? width : (box.w / to.w) * width;
        box.rect.setAttribute("x", left);
        box.rect.setAttribute("width", Math.max(0.4, wide));
        box.text.setAttribute("x", left + 3);
        const letters = Math.floor((wide - 6) / 6.7);
        const name = box.name.split(" in ")[0];
        box.text.textContent = letters < 3 ? "" : name.length <= letters ? name : name.slice(0, letters - 1) + "\\u2026";
      }
      out.textContent = to.title;
    };
    const search = () => {
      const words = input.value.trim().toLowerCase();
      let found = 0;
      let end = -1;
      for (const box of [...boxes].sort((a, b) => a.x - b.x || a.d - b.d)) {
        const hit = words !== "" && box.name.toLowerCase().includes(words);
        box.group.classList.toggle("found", hit);
        if (hit && box.x >= end) { found += box.w; end = box.x + box.w; }
      }
      out.textContent = words === "" ? "" : Math.round((1000 * found) / root.w) / 10 + " % is in or below what was found";
    };
    const neighbour = (box, key) => {
      if (key === "ArrowUp") return boxes.find((one) => one.d === box.d - 1 && one.x <= box.x && one.x + one.w >= box.x + box.w);
      if (key === "ArrowDown") return boxes.find((one) => one.d === box.d + 1 && one.x >= box.x && one.x + one.w <= box.x + box.w);
      const row = boxes.filter((one) => one.d === box.d && !one.group.classList.contains("gone"));
      return row[row.indexOf(box) + (key === "ArrowRight" ? 1 : -1)];
    };
    for (const box of boxes) {
      box.group.addEventListener("click", () => zoom(box));
      box.group.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); zoom(box); }
        if (event.key === "Escape") zoom(root);
        if (!event.key.startsWith("Arrow")) return;
        event.preventDefault();
        const next = neighbour(box, event.key);
        if (next === undefined) return;
        box.group.tabIndex = -1;
        next.group.tabIndex = 0;
        next.group.focus();
        out.textContent = next.title;
      });
    }
    input.addEventListener("input", search);
    button.addEventListener("click", () => { input.value = ""; search(); zoom(root); });
  }
  addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details:not(.numbers)")) one.open = true; });
})();
`;
