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

function render({ model, el: root }) {
  begin(root);
  const draw = () => {
    const state = model.get("state");
    const active = root.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
    root.replaceChildren();
    if (!state.rows) return;
    const table = el("table"), head = el("tr");
    head.append(el("th", "", "t"), el("th", "n"), ...state.candidates.map((name) => el("th", name)));
    table.append(head);
    for (const row of state.rows) {
      const tr = el("tr");
      tr.append(el("td", row.slice || row.task, "t"), el("td", String(row.n)));
      if (!row.slice) tr.style.fontWeight = "600";
      row.cells.forEach((cell, index) => {
        const td = el("td", cell === null ? "" : cell.score.toFixed(2), cell === null ? "" : "cell");
        if (cell !== null) {
          td.style.background = `rgba(0, 114, 178, ${0.06 + 0.55 * cell.score})`;
          td.title = `${state.candidates[index]}: ${cell.score.toFixed(3)} (${cell.lo.toFixed(2)} to ${cell.hi.toFixed(2)}), ${cell.n} items`;
          td.tabIndex = 0;
          td.setAttribute("role", "button");
          td.setAttribute("aria-label", `${row.slice || row.task}, ${td.title}`);
          td.onclick = () => model.send({ kind: "cell", task: row.task, slice: row.slice, candidate: state.candidates[index] });
          td.onkeydown = (event) => {
            if (event.key !== "Enter" && event.key !== " ") return;
            event.preventDefault(); // the space bar would scroll
            td.onclick();
          };
        }
        tr.append(td);
      });
      table.append(tr);
    }
    const box = el("div", undefined, "scroll");
    box.append(table);
    const tools = el("div", undefined, "tools");
    const pair = (name, options) => select(name, options, state[name], (value) => model.send({ kind: "pair", [name]: value }));
    tools.append(pair("task", state.tasks), pair("a", state.of_task), pair("b", state.of_task), el("span", state.said, "dim"));
    const lists = el("div", undefined, "columns");
    lists.style.gridTemplateColumns = "1fr 1fr";
    lists.append(list(model, `fixed (${state.a} better)`, state.fixed, state.n_fixed), list(model, `broke (${state.a} worse)`, state.broke, state.n_broke));
    root.append(box, el("p", "slices are many and hold few items: they say where to look, not what is so", "dim"), tools, lists);
    if (active) root.querySelector(`[data-focus="${CSS.escape(active)}"]`)?.focus({ preventScroll: true });
  };
  model.on("change:state", draw);
  draw();
}

export default { render };
