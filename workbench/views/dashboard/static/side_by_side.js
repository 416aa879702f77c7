// An item and the answers to it. What is shown comes as a message and is held by no widget's state, so that it is not
// saved with the notebook. Model output is untrusted: all of it is set as text.

function button(text, press, title) {
  const made = el("button", text);
  made.onclick = press;
  if (title) {
    made.title = title;
    made.setAttribute("aria-label", title);
  }
  return made;
}

const OTHERWISE = "written otherwise, counts as right";

// What differs is marked: weakly where the scorer counts it as right.
function marked(tag, text, counts) {
  const made = el(tag, text, counts ? "otherwise" : "differs");
  if (counts) made.title = OTHERWISE;
  return made;
}

// JSON may be broken where a value ends, though no space stands there.
const breakable = (text) => text.split(/(?<=[,:{[])(?=["{[])/).flatMap((piece, at) => (at ? [el("wbr"), piece] : [piece]));

function card(title, parts, { note, json, counts } = {}) {
  const box = el("div", undefined, "card"), pre = el("pre", undefined, json ? "json" : "");
  for (const [text, differs] of parts) {
    if (differs) pre.append(marked("mark", text, counts));
    else pre.append(...(json ? breakable(text) : [text]));
  }
  box.append(el("h4", title));
  if (note) box.append(el("div", note, "dim"));
  box.append(pre);
  return box;
}

function byField(look) {
  const table = el("table"), head = el("tr");
  head.append(el("th", "field", "t"), ...(look.keyed ? [el("th", "key", "t")] : []), ...look.answers.map((each) => el("th", each.name, "t")));
  table.append(head);
  for (const row of look.fields) {
    const tr = el("tr");
    tr.append(el("td", row.path, "t"));
    row.values.forEach((value, index) => {
      const cell = row.differs[index] ? marked("td", value, row.counts[index]) : el("td", value);
      cell.classList.add("v");
      tr.append(cell);
    });
    table.append(tr);
  }
  const box = el("div", undefined, "scroll fields");
  box.append(table);
  if (look.keyed) box.append(el("div", `filled: not what the key says; dashed: ${OTHERWISE}`, "dim"));
  return box;
}

function folded(title, text) {
  const box = el("details");
  box.append(el("summary", title), el("pre", text));
  return box;
}

// What is typed outlives a drawing: a key that is refused is mended, not typed again.
function correction(state, send, draft) {
  const form = el("div", undefined, "form"), note = el("textarea"), key = el("textarea");
  note.rows = 2;
  note.placeholder = "what did you notice?";
  note.setAttribute("aria-label", "note");
  note.value = draft.note;
  note.oninput = () => { draft.note = note.value; };
  key.rows = 6;
  key.value = draft.key ?? state.look.now ?? "";
  key.disabled = state.look.now === null;
  key.oninput = () => { draft.key = key.value === state.look.now ? null : key.value; };
  key.setAttribute("aria-label", "key");
  const press = el("div", undefined, "tools");
  press.append( // a key that nobody changed is not sent: it may have been corrected elsewhere meanwhile
    button("Keep", () => send({ kind: "keep", item: state.look.item, note: draft.note, key: draft.key })),
    button("Cancel", () => send({ kind: "blind", on: false })),
  );
  form.append(el("div", "Names are hidden while you judge. The note, and the key if you change it, go to corrections.jsonl."), note, key, press);
  return form;
}

function render({ model, el: root }) {
  begin(root);
  root.tabIndex = 0;
  root.setAttribute("aria-label", "side by side: left and right arrow turn the page");
  let state = null, draft = {};
  const send = (message) => model.send(message);
  const draw = () => {
    if (!state) return;
    if (!state.blind || draft.item !== state.look.item) draft = { item: state.look?.item, note: "", key: null };
    const focus = focused(root);
    root.replaceChildren();
    const choose = (name, options, label) => select(label || name, options, state[name], (value) => send({ kind: "select", [name]: value }));
    const tools = el("div", undefined, "tools");
    if (!state.blind)
      tools.append(choose("task", state.tasks), choose("slice", ["", ...state.slices]), choose("a", state.candidates, "A"),
        choose("b", state.candidates, "B"), choose("show", state.shows), choose("sort", state.sorts));
    const page = el("div", undefined, "tools");
    const go = (by) => send({ kind: "go", at: state.at + by });
    const place = el("span", state.total ? `${state.at + 1} of ${state.total}` : "no items", "place");
    if (state.blind) page.append(place); // turning the page would lose what is written
    else page.append(button("◀", () => go(-1), "previous (left arrow)"), place, button("▶", () => go(1), "next (right arrow)"));
    if (state.look && state.correctable && !state.blind) page.append(button("Note or correct", () => send({ kind: "blind", on: true })));
    if (!state.blind)
      for (const name of state.candidates) {
        const box = el("label"), tick = el("input");
        tick.type = "checkbox";
        tick.checked = state.columns.includes(name);
        tick.setAttribute("aria-label", `column ${name}`);
        tick.onchange = () => send({ kind: "column", name, on: tick.checked });
        box.append(tick, ` ${name}`);
        page.append(box);
      }
    const said = el("div", state.said, "said");
    said.setAttribute("role", "status");
    root.append(tools, page, said);
    if (state.look) show(state, send, root, draft);
    if (focus) (root.querySelector(focus) ?? (state.blind ? root.querySelector("textarea") : root)).focus({ preventScroll: true });
  };
  model.on("msg:custom", (message) => {
    if (message.kind !== "state") return;
    state = message.state;
    draw();
    if (state.opened) root.focus({ preventScroll: true });
  });
  root.addEventListener("keydown", (event) => {
    if (!state || state.blind || ["TEXTAREA", "INPUT", "SELECT"].includes(event.target.tagName)) return;
    const by = { ArrowLeft: -1, k: -1, ArrowRight: 1, j: 1 }[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    send({ kind: "go", at: state.at + by });
  });
  send({ kind: "ready" });
}

// Where the focus is, as a selector that finds the same thing after a drawing; nothing where it is elsewhere.
function focused(root) {
  const active = document.activeElement;
  if (!root.contains(active)) return null;
  const label = active.getAttribute("aria-label");
  return active === root || !label ? ":scope > nothing" : `[aria-label="${CSS.escape(label)}"]`;
}

function show(state, send, root, draft) {
  const look = state.look;
  root.append(el("h4", `${look.task}, item ${look.item} (${look.class})${look.slices ? `, ${look.slices}` : ""}`));
  if (look.hidden) root.append(el("p", "restricted: its text is shown by wb.show(run, reveal=True), and is then stored nowhere", "dim"));
  const item = el("div", undefined, "columns");
  const inputs = look.inputs.length ? look.inputs : look.prompt ? [["prompt", look.prompt]] : [];
  item.style.gridTemplateColumns = `repeat(${Math.max(inputs.length, 1) + (look.key ? 1 : 0)}, minmax(12em, 1fr))`;
  item.append(...inputs.map(([name, text]) => card(name, [[text, false]])));
  if (look.key) item.append(card("key", [[look.key, false]], { json: look.keyed }));
  root.append(item);
  const answers = el("div", undefined, "columns");
  answers.style.gridTemplateColumns = `repeat(${Math.max(look.answers.length, 1)}, minmax(12em, 1fr))`;
  for (const each of look.answers) {
    const box = card(each.name, each.parts, { ...each, note: [each.verdict, each.figures].filter(Boolean).join(" · ") });
    if (each.prompt) box.append(folded("prompt", each.prompt));
    answers.append(box);
  }
  if (look.fields) root.append(byField(look));
  root.append(answers);
  if (look.against) root.append(el("div", `marked: what differs from ${look.against}${look.against === "the key" ? `; dashed: ${OTHERWISE}` : ""}`, "dim"));
  if (state.blind) root.append(correction(state, send, draft));
}

export default { render };
