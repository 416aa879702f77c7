r"""LaTeX's ways to write a figure in plain ones, as far as answers use them.

without_latex(r"$\frac{1}{2}$ of 12{,}345")      # '1/2 of 12,345'
"""

from __future__ import annotations

import regex

_MARKUP = regex.compile(r"\\|\{,\}|\$[^$\n]+\$")
_WAYS = [
    (r"(?<=\d)(?=\\[dtc]?frac)", " "),
    (r"\\[dtc]?frac\s?\{\s?([^{}]{1,40}?)\s?\}\s?\{\s?([^{}]{1,40}?)\s?\}", r"\1/\2"),
    (r"\\[dtc]?frac\s?(\d)\s?(\d)", r"\1/\2"),
    (r"\{,\}", ","),
    (r"\\!|\\(?:left|right)(?!\p{L})", ""),
    (r"\\[,;: ]|\\[()\[\]]", " "),
    (r"\\(?:times|cdot)(?!\p{L})", "×"),
    (r"\\sqrt\s?", "√"),
    (r"\\(?:text|textbf|textit|mathrm|mathbf)\s?\{([^{}]*)\}", r"\1"),
    (r"\^\{?\\circ(?!\p{L})\}?", "°"),
    (r"(?<![\w$\\])(\$\$?)(?=[^\s$])([^$\p{L}\n]*)(?<=\S)\1(?![\w$])", r"\2"),  # "$5$" is no dollar
    (r"\\([$%&#_])", r"\1"),
]
_PLAIN = [(regex.compile(pattern), plain) for pattern, plain in _WAYS]


def without_latex(text: str) -> str:
    r"""Text without "12{,}345", "\frac{1}{2}", "4.2 \times 10^{3}", "\text{kg}", "$5$"; most texts as they are."""
    if _MARKUP.search(text) is None:
        return text
    for pattern, plain in _PLAIN:
        text = pattern.sub(plain, text)
    return text
