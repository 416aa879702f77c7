// The leaderboard: a table that is sorted by the column whose head is pressed. All text is set as text, never as HTML.

function bar(row) {
  const box = el("span", undefined, "bar");
  const band = el("i"), at = el("b");
  band.style.left = `${100 * row.score_lo}%`;
  band.style.width = `${Math.max(100 * (row.score_hi - row.score_lo), 0.5)}%`;
  at.style.left = `${100 * row.score}%`;
  box.append(band, at);
  return box;
}

function cell(column, row) {
  const made = el("td", undefined, `${column.text ? "t " : ""}c-${column.name}`);
  if (column.name === "bar") made.append(bar(row));
  else made.textContent = row.shown[column.name];
  return made;
}

// Unknown figures come last, whichever way the table is sorted.
function ordered(rows, name, down) {
  const sign = down ? -1 : 1;
  return [...rows].sort((one, other) => {
    const a = one[name], b = other[name];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
  });
}

function render({ model, el: root }) {
  begin(root);
  let sorted = "", down = true, task = "";
  const draw = () => {
    const active = root.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
    root.replaceChildren();
    const rows = model.get("rows"), columns = model.get("columns");
    const tools = el("div", undefined, "tools"), pick = el("select");
    pick.setAttribute("aria-label", "task");
    pick.dataset.focus = "task";
    for (const name of ["", ...new Set(rows.map((row) => row.task))]) {
      const option = el("option", name || "all tasks");
      option.value = name;
      pick.append(option);
    }
    pick.value = task;
    pick.onchange = () => { task = pick.value; draw(); };
    tools.append(pick, el("span", "press a column's head to sort", "dim"));
    const table = el("table", undefined, "board"), head = el("tr");
    for (const column of columns) {
      const th = el("th", undefined, column.text ? "t" : "");
      const press = el("button", column.title + (sorted === column.sort ? (down ? " ▼" : " ▲") : ""));
      press.dataset.focus = `sort ${column.sort}`;
      press.onclick = () => {
        down = sorted === column.sort ? !down : !column.text;
        sorted = column.sort;
        draw();
      };
      th.append(press);
      if (sorted === column.sort) th.setAttribute("aria-sort", down ? "descending" : "ascending");
      head.append(th);
    }
    const body = el("tbody");
    let shown = rows.filter((row) => !task || row.task === task);
    if (sorted) shown = ordered(shown, sorted, down);
    for (const row of shown) {
      const tr = el("tr", undefined, row.chosen ? "on" : "");
      tr.title = row.title;
      tr.append(...columns.map((column) => cell(column, row)));
      body.append(tr);
    }
    const top = el("thead");
    top.append(head);
    table.append(top, body);
    const box = el("div", undefined, "scroll");
    box.append(table);
    const told = model.get("cautions").filter((each) => !task || each.task === task);
    root.append(tools, ...told.map((each) => el("div", each.said)), box, el("p", model.get("note"), "dim"));
    if (active) root.querySelector(`[data-focus="${CSS.escape(active)}"]`)?.focus({ preventScroll: true });
  };
  model.on("change:rows", draw);
  draw();
}

export default { render };
