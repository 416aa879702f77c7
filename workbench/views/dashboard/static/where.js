// Scores by task and slice, and what one candidate fixes and breaks against another. A press opens the items.

function list(model, title, ids, total) {
  const box = el("div", undefined, "card"), shown = ids.slice(0, 40);
  box.append(el("h4", `${title}: ${total}`));
  for (const id of shown) {
    const press = el("button", id);
    press.onclick = () => model.send({ kind: "open", item: id });
    box.append(press, " ");
  }
  if (total > shown.length) box.append(el("span", `and ${total - shown.length} more`, "dim"));
  return box;
}

function mapCell(model, row, candidate, cell, few) {
  if (cell === null) return el("td", "");
  const [score, lo, hi, n] = cell, td = el("td", score.toFixed(2), n < few ? "cell few" : "cell");
  td.style.background = `rgba(0, 114, 178, ${0.06 + 0.55 * score})`;
  td.title = `${candidate}: ${score.toFixed(3)} (${lo.toFixed(2)} to ${hi.toFixed(2)}), ${n} ${n === 1 ? "item" : "items"}`;
  td.tabIndex = 0;
  td.setAttribute("role", "button");
  td.setAttribute("aria-label", `${row.slice || row.task}, ${td.title}`);
  td.onclick = () => model.send({ kind: "cell", task: row.task, slice: row.slice, candidate });
  td.onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault(); // the space bar would scroll
    td.onclick();
  };
  return td;
}

function drawMap(model, root) {
  const { candidates, rows, few, rest } = model.get("map");
  if (!rows) return;
  const table = el("table"), head = el("tr"), box = el("div", undefined, "scroll");
  head.append(el("th", "", "t"), el("th", "n"), ...candidates.map((name) => el("th", name)));
  table.append(head);
  for (const row of rows) {
    const tr = el("tr"), n = Math.max(...row.cells.map((cell) => cell?.[3] ?? 0));
    tr.append(el("td", row.slice || row.task, "t"), el("td", String(n)));
    if (!row.slice) tr.style.fontWeight = "600";
    tr.append(...row.cells.map((cell, index) => mapCell(model, row, candidates[index], cell, few)));
    table.append(tr);
  }
  box.append(table);
  const told = `slices are many and hold few items: they say where to look, not what is so; pale: under ${few} items${rest}`;
  root.replaceChildren(box, el("p", told, "dim"));
}

function drawPair(model, root) {
  const state = model.get("state");
  if (!state.tasks) return;
  const active = root.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  const tools = el("div", undefined, "tools"), lists = el("div", undefined, "columns");
  const pair = (name, options) => select(name, options, state[name], (value) => model.send({ kind: "pair", [name]: value }));
  tools.append(pair("task", state.tasks), pair("a", state.of_task), pair("b", state.of_task), el("span", state.said, "dim"));
  lists.style.gridTemplateColumns = "1fr 1fr";
  lists.append(list(model, `fixed (${state.a} better)`, state.fixed, state.n_fixed), list(model, `broke (${state.a} worse)`, state.broke, state.n_broke));
  root.replaceChildren(tools, lists);
  if (active) root.querySelector(`[data-focus="${CSS.escape(active)}"]`)?.focus({ preventScroll: true });
}

// The map and the pair are drawn apart: a large map takes long, and another pair does not change it.
function render({ model, el: root }) {
  begin(root);
  const map = el("div"), pair = el("div");
  root.replaceChildren(map, pair);
  model.on("change:map", () => drawMap(model, map));
  model.on("change:state", () => drawPair(model, pair));
  drawMap(model, map);
  drawPair(model, pair);
}

export default { render };
