"""What formats are made of: rows and tables, files and YAML, templates and chats, and the ledger of losses.

Here is only what two formats use. What one tool alone knows is in its format: a module, or a folder of small ones where
the tool's files are several notations.
"""
