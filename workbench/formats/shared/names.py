"""What columns are called in tables of tests: by these names a guess tells inputs from answers, and a header from data.

normal("Expected Output")          # 'expected_output', one of ANSWERS
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from typing import Any

_SHOWN = 60
PLACE = re.compile(r"id|cluster|sensitivity|split|(inputs|expectations|slice)(\..+)?", re.DOTALL)


def _words(*lines: str) -> tuple[str, ...]:
    return tuple(word for line in lines for word in line.split())


ANSWERS = _words(
    "expected_output expected_answer expected_response expected_result expected ideal ideal_answer ground_truth",
    "groundtruth ground_truths ground_truth_answer reference_answer correct_answer gold gold_answer golden_answer",
    "gold_label answer_key answer answers target targets label labels class label_text intent reference",
    "references solution summary highlights translation output outputs completion response expectations",
)
# Where no answer has a name of its own, these are one; otherwise they are slices.
CLASSES = _words(
    "sentiment emotion emotions category categories topic topics queue priority rating stars score tag tags type",
    "verdict decision",
)
INPUTS = _words(
    "input inputs user_input question prompt text query document documents ticket instruction instructions",
    "context contexts retrieval_context retrieved_contexts passage article content message messages conversation",
    "dialogue dialog transcript email mail body title subject sentence sentence1 sentence2 premise hypothesis",
    "choices options endings paragraph story review comment utterance clause facts rule contract code problem",
    "request description abstract post tweet headline claim evidence statement user_message customer_message",
    "email_body receipt invoice report meeting_transcript",
)
SLICES = _words(
    "slice category categories topic subject domain task difficulty level language lang type question_type genre",
    "region channel dataset subset subtask product department source synthesizer_name persona_name query_style",
    "query_length split",
)
CLUSTERS = _words(
    "cluster cluster_id group group_id doc doc_id document_id meeting meeting_id conversation_id dialogue_id",
    "dialog_id thread_id session_id case_id customer_id passage_id context_id article_id source_file source_id",
    "user_id page_id story_id",
)
IDS = _words(
    "id item_id example_id sample_id qid question_id test_id uid uuid guid idx index",
)
# For judges and retrieval: none of our scorers reads it.
UNREAD = _words(
    "expected_facts guidelines expected_retrieved_context retrieved_context reference_contexts context",
)
RETRIEVED = ("retrieval_context", "retrieved_contexts")
METADATA = ("metadata", "additional_metadata", "meta")
SPLITS = set(_words("train training test testing eval evaluation validation valid val dev"))
_OTHERS = _words("sensitivity split actual_output name comments")
_KNOWN = {*ANSWERS, *CLASSES, *INPUTS, *SLICES, *CLUSTERS, *IDS, *METADATA, *UNREAD, *_OTHERS}


def normal(name: str) -> str:
    """A column's name without regard to its spelling: 'Expected Output', 'expectedOutput' are expected_output."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\W_]+", "_", name).strip("_").casefold()


def known_name(name: str) -> bool:
    """Whether a cell is what columns are called."""
    return normal(name) in _KNOWN or (PLACE.fullmatch(name.strip()) is not None)


def identifier(text: str) -> str:
    """A name that a template can use: letters, digits and underscores."""
    name = re.sub(r"\W+", "_", text.strip()).strip("_") or "value"
    return name if not name[0].isdigit() else f"_{name}"


def distinct(wanted: str, taken: Collection[Any]) -> str:
    """A name that is not taken yet: this one, or with a number behind it."""
    numbered = (f"{wanted}_{number}" for number in itertools.count(len(taken) + 1))
    return next(name for name in itertools.chain([wanted], numbered) if name not in taken)


def cut(text: str) -> str:
    """A column's name in a message: it may be data, where a file has no header."""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
