"""`%%ask`: a cell's text to several models, their answers side by side with time, tokens and cost.

%load_ext workbench

%%ask qwen-awq gpt-mini --public
Name three colors.

What is not labeled is restricted: it does not reach a hosted model, and answers to it are shown on the screen and kept
in no notebook. (The cell itself is: what you type into a notebook is stored with it.)
"""

from __future__ import annotations

import argparse
import math
import re
import shlex
import sys
import threading
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NoReturn

from workbench.errors import InputError, WorkbenchError
from workbench.privacy import Sensitivity, redact, sensitivity_of

if TYPE_CHECKING:
    from workbench.catalog import Model, Models
    from workbench.runner.once import Reply

_ON_SCREEN = "restricted: the answers are shown on the screen only, and a saved notebook does not have them"
_KEPT_BACK = "what is not labeled is restricted, and reaches no hosted model: --public or --internal say that it may"
# What a terminal obeys instead of showing it: control characters but tab and new line, and what turns the direction.
_COMMANDING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def load_ipython_extension(shell: Any) -> None:
    """Make `%%ask` known; `%load_ext workbench` calls it."""
    from IPython.core.magic import no_var_expand

    shell.register_magic_function(no_var_expand(ask), "cell", "ask")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"%%ask: {message}. '%%ask --help' says how it is used.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("%%ask", add_help=False, description="Ask models what stands in the cell.", allow_abbrev=False)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="ids out of models.yaml")
    label = parser.add_mutually_exclusive_group()
    label.add_argument("--public", action="store_true", help="the text may go to anybody")
    label.add_argument("--internal", action="store_true", help="it may go to hosted models; else it is restricted")
    parser.add_argument("--system", dest="preface", metavar="TEXT", help="a system prompt")
    parser.add_argument("--max-tokens", type=int, default=256, metavar="N", help="of each answer; 256")
    parser.add_argument("--keep", metavar="NAME", help="add the text to this eval set, as an item")
    parser.add_argument("--expect", metavar="JSON_OR_LABEL", help="what is right, for the item")
    parser.add_argument("--models-file", default="models.yaml", metavar="FILE")
    parser.add_argument("--evalsets", default="evalsets", metavar="DIR")
    parser.add_argument("--help", action="store_true", help="show this")
    return parser


def ask(line: str, cell: str) -> None:
    """Ask models what stands in the cell; '%%ask --help' lists the options."""
    from IPython.core.error import UsageError

    try:
        arguments = _arguments(line)
        if arguments.help:
            print(_parser().format_help())
            return
        _ask(arguments, cell.strip("\n"))
    except WorkbenchError as failure:  # one line, no traceback
        raise UsageError(str(failure)) from None


def _arguments(line: str) -> argparse.Namespace:
    try:
        words = shlex.split(line)
    except ValueError as failure:
        raise InputError(f"%%ask: {failure}. Put quotes around what has spaces, at both ends.") from None
    found = _parser().parse_args(words)
    if found.max_tokens < 1:
        raise InputError(f"%%ask: --max-tokens {found.max_tokens}: give a number from 1.")
    if found.expect is not None and found.keep is None:
        raise InputError("%%ask: --expect goes with --keep NAME, the eval set that the item is for.")
    return found


def _ask(arguments: argparse.Namespace, text: str) -> None:
    from workbench.catalog import load_models
    from workbench.runner.once import ask_once, prompt_set

    if not text.strip():
        raise InputError("%%ask: the cell has no prompt. Write it below the first line.")
    models = load_models(arguments.models_file)
    chosen = _chosen(models, arguments.models)
    label = "public" if arguments.public else "internal" if arguments.internal else None
    sensitivity = sensitivity_of(label)
    kept = _keep(arguments, text, sensitivity) if arguments.keep is not None else ""
    asked = prompt_set(text, sensitivity, arguments.preface, arguments.max_tokens)
    hosted = any(model.zone == "hosted" for model in chosen)
    view = _View(
        [model.id for model in chosen], sensitivity, [_KEPT_BACK] * (hosted and not label) + [kept] * bool(kept)
    )
    replies = ask_once(asked, chosen, models.machine, view.say, view.told)
    view.finish(replies)


def _chosen(models: Models, names: Sequence[str]) -> list[Model]:
    """The named models, each once, in the order in which they were named; they may be asked any prompt."""
    known = f"It has: {', '.join(models)}"
    if not names:
        raise InputError(f"%%ask: name at least one model of models.yaml. {known}.")
    if unknown := [name for name in names if name not in models]:
        listed = " or ".join(f"'{name}'" for name in dict.fromkeys(unknown))
        raise InputError(f"%%ask: there is no model {listed} in models.yaml. {known}.")
    return [models[name].model_copy(update={"variants": None}) for name in dict.fromkeys(names)]


def _keep(arguments: argparse.Namespace, text: str, sensitivity: Sensitivity) -> str:
    from workbench.evalset import load_evalsets
    from workbench.evalset.add import add_item

    if "," in arguments.keep:
        raise InputError(f"%%ask: --keep {arguments.keep}: name one eval set.")
    evalset = load_evalsets(arguments.evalsets, [arguments.keep])[arguments.keep]
    name = add_item(evalset, text, arguments.expect, sensitivity)
    return f"kept as item {name} of {evalset.name} ({sensitivity}); evidence from before is of the set without it"


class _View:
    """What the cell shows: a table that fills as answers come, and where they are restricted, a part for the screen."""

    def __init__(self, models: Sequence[str], sensitivity: Sensitivity, notes: Sequence[str]) -> None:
        from workbench.servers.idle import interactive

        self._sensitivity, self._notes = sensitivity, notes
        self._replies: dict[str, Reply | None] = dict.fromkeys(models)
        self._doing: dict[str, str] = {}
        self._lock = threading.Lock()
        self._handle: Any = None
        if interactive():
            self._show()

    def say(self, model: str, line: str) -> None:
        """What a model's engine is doing."""
        with self._lock:
            self._doing[model] = str(line)
        if self._handle is not None:
            self._show()

    def told(self, reply: Reply) -> None:
        """A reply is there."""
        with self._lock:
            self._replies[reply.model] = reply
        if self._handle is not None:
            self._show()

    def finish(self, replies: Sequence[Reply]) -> None:
        """All replies are there that will come."""
        with self._lock:
            self._replies = {reply.model: reply for reply in replies}
        kernel = self._handle is not None
        answered = [reply for reply in replies if reply.text is not None or reply.error]
        on_screen = self._sensitivity == "restricted" and bool(answered) and _somebody_there(kernel)
        self._show(reveal=on_screen and not kernel)
        if on_screen and kernel:
            from IPython.display import display

            display(_on_screen([_cells(reply, "public") for reply in answered]))

    def _show(self, reveal: bool = False) -> None:
        from IPython.display import display

        with self._lock:
            as_of: Sensitivity = "public" if reveal else self._sensitivity
            columns = [
                (name, _cells(reply, as_of) if reply else {"answer": self._doing.get(name) or "…"})
                for name, reply in self._replies.items()
            ]
        told = {"text/html": _html(columns, self._notes), "text/plain": _text(columns, self._notes)}
        if self._handle is None:
            self._handle = display(told, raw=True, display_id=True)
        else:
            self._handle.update(told, raw=True)


def _somebody_there(kernel: bool) -> bool:
    """Whether a person looks on, so that what is shown to them goes into no file."""
    from workbench.views.notebook import somebody_there

    return somebody_there() if kernel else sys.stdout.isatty()


_ROWS = ("answer", "time", "first token", "tokens", "cost")


def _cells(reply: Reply, sensitivity: Sensitivity) -> dict[str, str]:
    """A model's column, by row; of a restricted prompt without what repeats it."""
    from workbench.views.tables import seconds, usd

    if reply.text is None:
        said = f"\n{redact(reply.error, sensitivity)}" if reply.error else ""
        return {"model": reply.model, "answer": f"({reply.why}){said}"}
    counts = ["unknown" if n is None else str(n) for n in (reply.input_tokens, reply.output_tokens)]
    return {
        "model": reply.model,
        "answer": redact(reply.text, sensitivity),
        "time": seconds(_number(reply.latency_s)) + (", in an earlier run" if reply.before else ""),
        "first token": seconds(_number(reply.ttft_s)),
        "tokens": f"{counts[0]} in, {counts[1]} out",
        "cost": usd(_number(reply.cost_usd)),
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


# JupyterLab would break lines within words.
_ANSWER = '<td class=w style="vertical-align:top"><pre style="word-break:normal;overflow-wrap:anywhere">{}</pre></td>'
Columns = Sequence[tuple[str, dict[str, str]]]


def _html(columns: Columns, notes: Sequence[str]) -> str:
    from workbench.views.tables import page

    head = "".join(f"<th class=t>{escape(name)}</th>" for name, _ in columns)
    rows = f"<tr><th></th>{head}</tr>"
    for row in _ROWS:
        if not any(cells.get(row) for _, cells in columns):
            continue
        shape = _ANSWER if row == "answer" else "<td class=t>{}</td>"
        told = "".join(shape.format(escape(cells.get(row, ""))) for _, cells in columns)
        rows += f'<tr><th class=t style="vertical-align:top">{row}</th>{told}</tr>'
    return page(f"<table>{rows}</table>{''.join(f'<p>{escape(note)}</p>' for note in notes)}")


def _text(columns: Columns, notes: Sequence[str]) -> str:
    """The same for a terminal: one after another, and nothing in an answer commands it."""
    parts = []
    for name, cells in columns:
        figures = ", ".join(f"{row} {cells[row]}" for row in _ROWS[1:] if cells.get(row))
        parts.append(f"{name}{f' ({figures})' if figures else ''}\n{cells.get('answer', '')}")
    return _COMMANDING.sub(_written_out, "\n\n".join([*parts, *notes]).replace("\r\n", "\n"))


def _written_out(found: re.Match[str]) -> str:
    return ascii(found.group())[1:-1]


# All text is set as text. It comes as a message, when the browser asks for it, and is held by no widget's state.
_SCRIPT = """
function render({ model, el }) {
  el.classList.add("wbd");
  const hear = (message) => {
    const make = (tag, text) => {
      const made = document.createElement(tag);
      if (text !== undefined) made.textContent = text;
      return made;
    };
    const columns = make("div");
    columns.className = "columns";
    columns.style.gridTemplateColumns = `repeat(${message.answers.length}, minmax(12em, 1fr))`;
    for (const each of message.answers) {
      const card = make("div");
      card.className = "card";
      card.append(make("h4", each.model), make("pre", each.answer));
      columns.append(card);
    }
    const note = make("p", message.note);
    note.className = "dim";
    el.replaceChildren(columns, note);
  };
  model.on("msg:custom", hear);
  model.send({ kind: "ready" });
  return () => model.off("msg:custom", hear);
}
export default { render };
"""


def _on_screen(answers: list[dict[str, str]]) -> Any:
    """A part of the cell that a browser fills, and no notebook keeps."""
    from workbench.views.dashboard.widget import Part

    class Answers(Part):
        """Its state holds no text."""

        _esm = _SCRIPT

    made = Answers()
    told = [{name: each[name] for name in ("model", "answer")} for each in answers]
    made.on_msg(lambda *_: made.send({"answers": told, "note": _ON_SCREEN}))
    return made
