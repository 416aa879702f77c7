"""Batches: a phase before a model's lane that asks in files what the journal lacks, and puts the answers there.

    batched = await ask_in_batches(model, questions, journal, sending, use, say)
    lane.sends, lane.instead = False, batched.instead      # then the desk makes the outcomes, as of any other answers

A hosted batch goes on while nobody waits for it: the same command finds it again, and collects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from workbench.catalog import Model
from workbench.errors import WorkbenchError
from workbench.journal import Attempt, Journal
from workbench.runner.ask import Sending, Use
from workbench.runner.batch.rounds import Batched, Rounds
from workbench.runner.batch.state import Shelf
from workbench.runner.lane import Askable
from workbench.servers import engine_of

__all__ = ["Batched", "ask_in_batches", "pending_batches"]


async def ask_in_batches(
    model: Model,
    questions: Iterable[Askable],
    journal: Journal,
    sending: Sending,
    use: Use,
    say: Callable[[str], None] = lambda line: None,
    retry_errors: bool = False,
    made: Callable[[list[Attempt]], None] = lambda attempts: None,
) -> Batched:
    """Ask a model what the journal does not answer yet, in batches; answers in a wrong format in further rounds.

    Args:
        questions: are gone through once a round.
        use: is filled in, also where it fails.
        say: is given progress lines.
        retry_errors: ask only what failed before.
        made: is given what came of each request as it is collected; in a thread.

    Raises:
        JournalError: what is answered cannot be written down.
    """
    shelf = Shelf(engine_of(model).identity(model))
    rounds = Rounds(model, questions, journal, sending, use, say, shelf, retry_errors, made)
    try:
        if await shelf.hold(sending.stopping, say):
            await rounds.run()
    except WorkbenchError as failure:  # a problem like others: what was collected until then counts
        if failure.fatal:
            raise
        rounds.batched.problems.append(str(failure))
    finally:
        shelf.release()
        say("")
    return rounds.batched


def pending_batches(model: Model) -> list[str]:
    """The batches of a model that are with its API and not collected yet."""
    return Shelf(engine_of(model).identity(model)).pending() if model.batch == "openai" else []
