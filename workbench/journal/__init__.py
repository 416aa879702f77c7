"""The journal: every answer on disk before it is reported as done, and what was about to be asked.

with Journal.open() as journal:
    journal.put(request_key(identity, body, repeat=0), [Attempt("red")])
"""

from workbench.journal.answers import Journal
from workbench.journal.attempt import Attempt, canonical, from_record, request_key, to_record
from workbench.journal.intents import Intents, worst_known

__all__ = ["Attempt", "Intents", "Journal", "canonical", "from_record", "request_key", "to_record", "worst_known"]
