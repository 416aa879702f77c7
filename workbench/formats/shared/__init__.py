"""What several formats share: rows of a table, files and YAML, templates, chat turns, and the ledger of losses."""
