// What all parts of the dashboard share; it stands before each part's own script.
const el = (tag, text, cls) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (cls) made.className = cls;
  return made;
};

function select(label, options, value, change) {
  const box = el("label", `${label} `), pick = el("select");
  for (const name of options) {
    const option = el("option", name || "all");
    option.value = name;
    pick.append(option);
  }
  pick.value = value;
  pick.setAttribute("aria-label", label);
  pick.dataset.focus = label;
  pick.onchange = () => change(pick.value);
  box.append(pick);
  return box;
}

function begin(root) {
  root.classList.add("wbd");
  // JupyterLab takes keys before they come here: without this mark on what has the focus, x would cut the cell.
  root.addEventListener("focusin", (event) => { event.target.dataset.lmSuppressShortcuts = "true"; });
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape") root.closest(".jp-Notebook")?.focus(); // the way back to the notebook's own keys
  });
}

