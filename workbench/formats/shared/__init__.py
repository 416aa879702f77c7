"""What formats are made of: rows and tables, files and YAML, templates and prompts, scoring, and the ledger of losses.

Most of it serves several formats; `suites` and `assertions` are promptfoo's notation, `tasks` and `metrics` that of the
lm-evaluation-harness, each read and written in one place.
"""
