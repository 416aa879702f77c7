// Scores by task and slice, and what one candidate fixes and breaks against another. A press opens the items.
const el = (tag, text, cls) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (cls) made.className = cls;
  return made;
};

function select(label, options, value, change) {
  const box = el("label", `${label} `), pick = el("select");
  for (const name of options) {
    const option = el("option", name);
    option.value = name;
    pick.append(option);
  }
  pick.value = value;
  pick.setAttribute("aria-label", label);
  pick.onchange = () => change(pick.value);
  box.append(pick);
  return box;
}

function list(model, title, ids, show) {
  const box = el("div", undefined, "card");
  box.append(el("h4", `${title}: ${ids.length}`));
  for (const id of ids.slice(0, 40)) {
    const press = el("button", id);
    press.onclick = () => model.send({ kind: "open", item: id, show });
    box.append(press, " ");
  }
  if (ids.length > 40) box.append(el("span", `and ${ids.length - 40} more`, "dim"));
  return box;
}

function render({ model, el: root }) {
  root.classList.add("wbd");
  const draw = () => {
    const state = model.get("state");
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
        const td = el("td", cell === null ? "" : cell.score.toFixed(2), "cell");
        if (cell !== null) {
          td.style.background = `rgba(0, 114, 178, ${0.06 + 0.55 * cell.score})`;
          td.title = `${state.candidates[index]}: ${cell.score.toFixed(3)} (${cell.lo.toFixed(2)} to ${cell.hi.toFixed(2)}), ${cell.n} items`;
          td.tabIndex = 0;
          td.onclick = () => model.send({ kind: "cell", task: row.task, slice: row.slice, candidate: state.candidates[index] });
          td.onkeydown = (event) => { if (event.key === "Enter") td.onclick(); };
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
    lists.append(list(model, `fixed (${state.a} better)`, state.fixed, "fixed"), list(model, `broke (${state.a} worse)`, state.broke, "broke"));
    root.append(box, el("p", "slices are many and hold few items: they say where to look, not what is so", "dim"), tools, lists);
  };
  model.on("change:state", draw);
  draw();
}

export default { render };
