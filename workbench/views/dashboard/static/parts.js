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

// JupyterLab takes keys before they come to a page's elements: without this mark on what has the focus, x would cut the
// cell. The sliders and buttons of ipywidgets stand beside our parts, so the document listens for all of them.
const OURS = ".wb-dashboard, .wbd";

function listen() {
  if (document.documentElement.dataset.wbListens) return;
  document.documentElement.dataset.wbListens = "true";
  document.addEventListener("focusin", (event) => {
    if (event.target.closest?.(OURS)) event.target.dataset.lmSuppressShortcuts = "true";
  });
  document.addEventListener("keydown", (event) => {
    // the way back to the notebook's own keys
    if (event.key === "Escape" && event.target.closest?.(OURS)) event.target.closest(".jp-Notebook")?.focus();
  });
}

function begin(root) {
  root.classList.add("wbd");
  listen();
}

