"use strict";
// The page works without this script; it adds sorting, filtering, the pictures behind a cell, and copying.
(() => {
  document.documentElement.classList.add("js");
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (name, words, css) => {
    const made = document.createElement(name);
    if (words !== undefined) made.textContent = words;
    if (css) made.className = css;
    return made;
  };
  const perCent = (share) => `${(share * 100).toFixed(share > 0 && share < 1 ? 1 : 0)}\u202f%`;

  function copyNear(button) {
    const text = button.parentElement.querySelector("pre").textContent;
    const done = () => {
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    };
    const select = () => getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, select);
    else select();
  }
  for (const button of document.querySelectorAll("[data-copies]")) button.addEventListener("click", () => copyNear(button));

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(text.replaceAll(",", ""));
    return text !== "" && Number.isFinite(number) ? number : text;
  };
  function sortTable(table, column, heading) {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column), row]);
    const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
    rows.sort(([a], [b]) => (descending ? compare(b, a) : compare(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }
  for (const table of document.querySelectorAll("table[data-sorts]")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      if ("plain" in heading.dataset) return;
      const button = element("button", heading.textContent);
      button.type = "button";
      heading.replaceChildren(button);
      button.addEventListener("click", () => sortTable(table, column, heading));
    });
  }
  for (const input of document.querySelectorAll("[data-filters]")) {
    const body = document.getElementById(input.dataset.filters).tBodies[0];
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLocaleLowerCase();
      for (const row of body.rows) row.hidden = !row.cells[0].textContent.toLocaleLowerCase().includes(wanted);
    });
  }

  const dialog = document.getElementById("pictures");
  document.getElementById("pictures-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  function showPictures(truth, named) {
    const count = countOf(truth, named);
    const shown = data.gallery.filter((row) => row[1] === truth && row[2] === named);
    const title = document.getElementById("pictures-title");
    const isolated = (name) => element("bdi", name);
    if (truth === named) title.replaceChildren(isolated(data.classes[truth]), ", named right");
    else title.replaceChildren(isolated(data.classes[truth]), " taken for ", isolated(data.classes[named]));
    const kept = shown.length === count ? "" : ` Pictures of ${shown.length} of them are kept.`;
    document.getElementById("pictures-note").textContent = `${count} ${data.split} image${count === 1 ? "" : "s"}.${kept}`;
    document.getElementById("pictures-list").replaceChildren(...shown.map(([item, , , confidence, source]) => {
      const entry = element("li");
      const image = element("img");
      Object.assign(image, { src: source, width: 96, height: 96, alt: `Image of class ${data.classes[truth]}` });
      const file = element("p", undefined, "file");
      file.append(isolated(item));
      entry.append(image, element("p", `confidence ${perCent(confidence)}`), file);
      return entry;
    }));
    dialog.showModal();
  }

  const counts = new Map(data.cells.map(([truth, named, count]) => [truth * data.classes.length + named, count]));
  const countOf = (truth, named) => counts.get(truth * data.classes.length + named) ?? 0;
  const shareOf = (truth, named) => (data.support[truth] ? countOf(truth, named) / data.support[truth] : 0);

  const order = document.getElementById("matrix-order");
  const show = document.getElementById("matrix-show");
  const mistakesOnly = document.getElementById("matrix-mistakes");
  const table = document.getElementById("matrix-table");
  const canvas = document.getElementById("matrix-canvas");
  if (table) startTable();
  if (canvas) startCanvas();

  function startTable() {
    const arrange = (row, classes) => {
      const byClass = new Map([...row.cells].slice(1).map((cell) => [Number(cell.dataset.class), cell]));
      row.append(...classes.map((index) => byClass.get(index)));
    };
    const buttons = () => [...table.querySelectorAll("button")];
    const resort = () => {
      const classes = data.orders[order.value];
      const rows = new Map([...table.tBodies[0].rows].map((row) => [Number(row.dataset.class), row]));
      table.tBodies[0].append(...classes.map((index) => rows.get(index)));
      for (const row of table.rows) arrange(row, classes);
    };
    const rewrite = () => {
      for (const button of buttons()) {
        button.textContent = show.value === "share" ? Math.round(button.dataset.share * 100) : button.dataset.count;
      }
    };
    const focusOn = (button) => {
      if (!button) return;
      for (const other of buttons()) other.tabIndex = -1;
      button.tabIndex = 0;
      button.focus();
    };
    const neighbour = (button, key) => {
      const cell = button.parentElement;
      const rows = [...table.tBodies[0].rows];
      let row = rows.indexOf(cell.parentElement);
      let column = cell.cellIndex;
      const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
      for (;;) {
        row += down;
        column += right;
        const next = rows[row]?.cells[column];
        if (!next || column < 1) return null;
        if (next.firstElementChild?.tagName === "BUTTON") return next.firstElementChild;
      }
    };
    order.addEventListener("change", resort);
    show.addEventListener("change", rewrite);
    mistakesOnly.addEventListener("change", () => table.classList.toggle("mistakes-only", mistakesOnly.checked));
    table.addEventListener("click", (event) => {
      const button = event.target.closest("td button");
      if (!button) return;
      for (const other of buttons()) other.tabIndex = -1;
      button.tabIndex = 0;
      const cell = button.parentElement;
      showPictures(Number(cell.parentElement.dataset.class), Number(cell.dataset.class));
    });
    table.addEventListener("keydown", (event) => {
      if (!event.key.startsWith("Arrow") || event.target.tagName !== "BUTTON") return;
      event.preventDefault();
      focusOn(neighbour(event.target, event.key));
    });
    const first = buttons()[0];
    if (first) first.tabIndex = 0;
  }

  function startCanvas() {
    const size = data.classes.length;
    const readout = document.getElementById("matrix-readout");
    const invitation = readout.textContent;
    const pixels = Math.max(2, Math.min(14, Math.floor(900 / size)));
    let classes = data.orders.index;
    let cursor = null;
    canvas.width = canvas.height = size * pixels;
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const draw = () => {
      const pen = canvas.getContext("2d");
      const place = new Map(classes.map((index, position) => [index, position]));
      pen.globalAlpha = 1;
      pen.fillStyle = colour("--soft");
      pen.fillRect(0, 0, canvas.width, canvas.height);
      for (const [truth, named] of data.cells) {
        const right = truth === named;
        if (right && mistakesOnly.checked) continue;
        const share = shareOf(truth, named);
        pen.fillStyle = colour(right ? "--hit" : "--miss");
        pen.globalAlpha = right ? 0.15 + 0.85 * share : 0.2 + 0.8 * Math.sqrt(share);
        pen.fillRect(place.get(named) * pixels, place.get(truth) * pixels, pixels, pixels);
      }
      if (!cursor) return;
      pen.globalAlpha = 1;
      pen.strokeStyle = colour("--ink");
      pen.lineWidth = 2;
      pen.strokeRect(cursor[1] * pixels - 1, cursor[0] * pixels - 1, pixels + 2, pixels + 2);
    };
    const tell = () => {
      const [truth, named] = [classes[cursor[0]], classes[cursor[1]]];
      const count = countOf(truth, named);
      const held = show.value === "share" ? perCent(shareOf(truth, named)) : `${count} of ${data.support[truth]}`;
      readout.replaceChildren(element("bdi", data.classes[truth]), truth === named ? " named right: " : " taken for ");
      if (truth !== named) readout.append(element("bdi", data.classes[named]), ": ");
      readout.append(held);
    };
    const moveTo = (row, column) => {
      const inside = (value) => Math.max(0, Math.min(size - 1, value));
      cursor = [inside(row), inside(column)];
      draw();
      tell();
    };
    const open = () => {
      if (cursor && countOf(classes[cursor[0]], classes[cursor[1]])) showPictures(classes[cursor[0]], classes[cursor[1]]);
    };
    const cellAt = (event) => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width].map((part) => Math.floor(part * size));
    };
    canvas.addEventListener("pointermove", (event) => moveTo(...cellAt(event)));
    canvas.addEventListener("click", (event) => { moveTo(...cellAt(event)); open(); });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); }
      if (!step) return;
      event.preventDefault();
      moveToFilled(step);
    });
    const moveToFilled = ([down, right]) => {
      if (!cursor) { moveTo(0, 0); return; }
      let [row, column] = cursor;
      do { row += down; column += right; } while (classes[row] !== undefined && classes[column] !== undefined && !countOf(classes[row], classes[column]));
      if (classes[row] !== undefined && classes[column] !== undefined) moveTo(row, column);
    };
    order.addEventListener("change", () => { classes = data.orders[order.value]; cursor = null; readout.textContent = invitation; draw(); });
    show.addEventListener("change", () => { if (cursor) tell(); });
    mistakesOnly.addEventListener("change", draw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    draw();
  }
})();
