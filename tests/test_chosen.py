"""Labels that a text chooses, and those that it only mentions: denied, doubted, asked for, corrected."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.scorers import parse_answer

QUEUES = ["billing", "bug", "access", "feature_request"]
SPAM = ["spam", "ham"]
LONG = "It cannot be A, which is far too small for that. " * 6


@pytest.mark.parametrize(
    "text",
    [
        "This does not appear to be spam.",
        "The message should not be classified as spam.",
        "This is not considered spam.",
        "The message is not likely spam",
        "It is unlikely to be spam.",
        "There is no indication of spam.",
        "No signs of spam.",
        "This message doesn't contain any spam.",
        "I cannot determine whether the message is spam.",
        "Is this spam?",
        "Please provide the message to check for spam.",
        "Dies ist kein Spam.",
        "No es spam.",
        "Non è spam",
        "I'm unable to classify this as spam.",
        "This is anything but spam.",
        "Is this spam? No.",
        "Is it spam or not?",
        "I don't see anything that would indicate spam.",
        "I do not see any signs that this would be spam.",
        "I would say it's not spam-like",
        "It is not obviously spam.",
        "It is hardly spam.",
        "This message is free of spam.",
        "spam-free",
        "It's a spam-free message.",
        "This is less spam than ham.",
        "Spam is unlikely.",
        "Spam is ruled out.",
        "Spam does not apply.",
        "Spam is not the right label.",
        "Spam ist das nicht.",
        "Es handelt sich nicht um Spam.",
        "Es handelt sich um keinen Spam",
        "Ich kann nicht sagen, ob das Spam ist.",
        "Ich glaube nicht, dass das Spam ist.",
        "Das ist wohl kaum Spam.",
        "Ce message n'est pas un spam.",
        "Je ne pense pas que ce soit du spam.",
        "Il n'y a aucun signe de spam",
        "Pas de spam",
        "Ce n’est pas du spam.",
        "No parece spam.",
        "No se trata de spam",
        "Este mensaje no es spam.",
        "No hay señales de spam",
        "If it is spam, delete it.",
        "Check whether this is spam.",
        "There are no ads, spam, or scams in it.",
        "There are no ads, spam or scams in it.",
        "I need more information to say whether it's spam",
        "Please send the text of the message so that I can look for spam.",
        "You should never mark this as spam",
        "I lack context.",
        "Spam, isn't it?",
        "This has nothing to do with spam.",
        "Neither.",
        "Could this be spam?",
        "It is not unlikely to be spam",
        "I cannot rule out spam.",
    ],
)
def test_a_label_that_is_denied_doubted_or_asked_for_is_not_chosen(text: str) -> None:
    answer = parse_answer(text, labels=SPAM)
    assert (answer.value, answer.format_ok) == (None, False)


@pytest.mark.parametrize(
    "text",
    [
        "This is spam.",
        "There is no doubt that this is spam.",
        "Without a doubt, spam.",
        "It's nothing but spam.",
        "No, this is spam.",
        "Spam? Yes.",
        "Is this spam? Yes, it is.",
        "The sender cannot be verified, so this is spam.",
        "The message isn't personal and it is spam.",
        "This can't be anything other than spam.",
        "No matter how you look at it, it is spam.",
        "I'm not sure, but it looks like spam.",
        "I refuse to answer. Spam is bad.",
        "Das ist Spam.",
        "Ohne Zweifel Spam.",
        "Das ist nicht nur Werbung, das ist Spam.",
        "Das ist kein normales Schreiben, sondern Spam.",
        "Nein, das ist Spam",
        "C'est du spam.",
        "Sans aucun doute du spam",
        "Ce n'est pas un message normal mais du spam",
        "Es spam.",
        "Sin duda es spam",
        "Este mensaje no es normal, es spam",
        "No es un mensaje legítimo sino spam",
        "If I had to choose, spam",
        "If I had to choose I would say spam.",
        "Whether or not you like it, spam",
        "This doesn't look like ham, it's spam.",
        "This is not ham; it is spam",
        "not ham, spam",
        "Not ham – spam",
        "Please mark as spam.",
        "It should be marked as spam.",
        "It fails all checks → spam",
        "The text lacks a greeting: spam",
        "Spam, not ham.",
        "spam\nIs there anything else?",
        "It may be spam.",
        "Probably spam",
        "It's likely spam",
    ],
)
def test_a_negation_of_something_else_takes_no_label_back(text: str) -> None:
    assert parse_answer(text, labels=SPAM).value == "spam"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("billing\n\nThe customer was charged twice, which is a billing issue rather than a bug.", "billing"),
        ("Billing\n\nExplanation: The user reports a bug, but the request is for a refund.", "billing"),
        ("Which queue? billing, bug, access\n\nbilling", "billing"),
        ("billing rather than bug", "billing"),
        ("Options are billing and bug. The answer is billing.", "billing"),
        ("The category is: billing. Other categories such as bug do not apply.", "billing"),
        ("bug\n\nWait, on reflection this should be billing.", None),
        ("bug\n\nWait.\n\nbilling", None),
        ("The user can't log in, which is an access problem.", "access"),
        ("The user cannot log in → access", "access"),
        ("Since the customer did not get a refund, this is billing.", "billing"),
        ("Because the app does not start, bug.", "bug"),
        ("The customer has not been refunded. This is billing", "billing"),
        ("I'd label this as bug because the app does not start", "bug"),
        ("The app doesn't start. Category: bug", "bug"),
        ("The customer was not charged, therefore it is not billing but a bug.", "bug"),
        ("The bug is not fixed yet", "bug"),
        ("The billing is wrong.", "billing"),
        ("It's a bug that was not reported before.", "bug"),
        ("As the invoice is not right, the category is billing.", "billing"),
        ("Not urgent. billing", "billing"),
        ("billing (not urgent)", "billing"),
        ("Without further context I would choose billing", None),
        ("Without further context, I would choose billing", "billing"),
        ("Label: This does not look like a bug", None),
        ("Answer: It is unlikely to be a bug", None),
        ("Answer: bug?", "bug"),
        ("My answer is bug", "bug"),
        ("I don't think the answer is bug", None),
        ("The answer is not bug", None),
        ("The answer isn't bug.", None),
        ("The answer is either bug or billing", None),
        ("The answer is bug or billing.", None),
        ("The answer is bug, billing and access.", None),
        ("The answer is bug only if it crashes, else billing.", None),
        ("Some say the answer is bug. Access may be right", None),
        ("The answer is bug. Wait, no, it is billing.", None),
        ("Answer: bug. Wait, no: billing", None),
        ("The answer is bug. The answer is billing.", None),
        ("If the answer is bug, billing is wrong.", None),
        ("billing\n\nHmm, on reflection it is a bug.", None),
        ("billing\n\nActually, bug fits best.", None),
        ("billing\nbug", None),
        ("billing\nbug\naccess", None),
        ("- billing\n- bug", None),
        ("billing\n\nTherefore it is a bug.", None),
        ("billing. Also bug.", None),
        ("billing. Maybe bug.", None),
        ("billing - bug", None),
        ("billing (bug)", None),
        ("billing as well as bug", None),
        ("billing because of a bug", "billing"),
        ("billing or maybe bug, since it crashed", None),
        ("billing, bug, since it crashed", None),
        ("This is billing.\nThe app has a bug, too.", "billing"),
        ("The user mentions a bug and access.\nbilling", "billing"),
        ("bug? No, billing.", None),
        ("I would choose billing over bug.", "billing"),
        ("I would choose billing, not bug.", "billing"),
        ("billing is the right label, although a bug is mentioned", "billing"),
        ("bug is the wrong label. Billing fits.", None),
        ("Options: billing, bug\nI choose billing", "billing"),
        ("Options: billing, bug\nI do not choose billing", None),
        ("The label is billing. It is not a bug.", "billing"),
        ("billing\n\nOverall, the ticket is about a bug.", None),
        ("The category is billing, since there's no bug.", "billing"),
        ("The category of this ticket is billing. A bug is mentioned.", "billing"),
        ("Rather than billing I'd choose bug", None),
        ("instead of billing, bug", None),
        ("billing-related", "billing"),
        ("non-billing", None),
        ("self-billing", None),
        ("e-billing", None),
    ],
)
def test_of_several_labels_the_one_that_is_stated_is_chosen(text: str, label: str | None) -> None:
    assert parse_answer(text, labels=QUEUES).value == label


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("I think the answer is B because A is wrong.", "B"),
        ("A is incorrect because it is too early. C is incorrect. So the answer is B.", "B"),
        ("The answer is **B**.\n\nWhy not A? Because A is too small.", "B"),
        ("The best choice is B, since A and C are false", "B"),
        ("It's B.\n\nA is too small.", "B"),
        ("B is the correct answer. A, C and D are all incorrect.", "B"),
        ("I'd pick B over A.", "B"),
        ("Die richtige Antwort ist B, da A falsch ist.", "B"),
        ("La respuesta correcta es B porque A es falso.", "B"),
        ("La réponse est B car A est faux.", "B"),
        (f"{LONG}So the answer is B.", "B"),
        (f"{LONG}Some say the answer is B.", None),
        ("A", "A"),
        ("A) is wrong", None),
        ("A is wrong.", None),
        ("B) is not right", None),
        ("B) Paris is right", "B"),
        ("B) is right", "B"),
        ("It can't be A, so B.", "B"),
        ("Not A, not C, so B", "B"),
        ("Since A is too small, the answer is B.", "B"),
        ("A is too small. B is too large. C fits.", None),
        ("A is wrong, B is wrong, C is wrong, so D", None),
        ("The answer is A or B", None),
        ("The answer is (B) Paris, not A.", "B"),
        ("The correct option is B) Paris. A) Rome is wrong.", "B"),
        ("The answer is A because B is too large", "A"),
        ("Is it A?", None),
        ("I'm not sure, maybe B", "B"),
        ("B\n\nA would be right if...", "B"),
        ("A would be right if the clause were there.\n\nB", "B"),
        ("Answer is B, A is wrong", None),
        ("The answer is B, not A", "B"),
        ("So B.\nA is wrong", "B"),
        ("I cannot choose between A and B", None),
        ("None of them. A is close.", "A"),
        ("A) Rome\nB) Paris\nC) Oslo", None),
        ("A) Rome\nB) Paris\n\nB", "B"),
        ("It is not clear that A is right", None),
    ],
)
def test_of_several_choices_the_one_that_is_stated_is_chosen(text: str, letter: str | None) -> None:
    assert parse_answer(text, labels=["A", "B", "C", "D"]).value == letter


_DENIALS = [
    "I cannot say that it is",
    "It is by no means",
    "Es ist weder klar noch sicher",
    "Ce n'est pas vraiment",
    "No es",
]
_DENIALS += ["It is not likely to be", "I doubt that this is", "Nothing points to", "Ob das", "Rien ne dit que c'est"]
_WORDS = st.lists(st.sampled_from(["a", "clear", "really", "case", "of", "such", "große", "un"]), max_size=6).map(
    " ".join
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_DENIALS), _WORDS, st.sampled_from(QUEUES), st.sampled_from([".", "", "!", "\n"]))
def test_a_denial_reaches_to_the_label_whatever_stands_between(denial: str, words: str, label: str, end: str) -> None:
    assert parse_answer(f"{denial} {words} {label}{end}", labels=QUEUES).value is None
    assert parse_answer(f"{denial} {words} that, but this is {label}{end}", labels=QUEUES).value == label
    assert parse_answer(f"{label}\n\n{denial} {words} that{end}", labels=QUEUES).value == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("This falls under billing.", "billing"),
        ("It falls into the category of billing.", "billing"),
        ("The request falls within billing", "billing"),
        ("It falls in the billing queue.", "billing"),
        ("It falls squarely under billing, not access.", "billing"),
        ("It falls short of billing.", None),
        ("It falls outside billing.", None),
        ("Falls in der Nachricht billing steht", None),
        ("Falls das billing ist", None),
        ("The sin tax question is billing.", "billing"),
        ("Sin billing", None),
        ("Der Lack ist zerkratzt und das ist billing", "billing"),
        ("There is a lack of billing", None),
        ("Si, es billing.", "billing"),
        ("Si es billing", None),
        ("Keine Frage, es ist billing", "billing"),
        ("Das ist keine Frage von billing", None),
    ],
)
def test_a_doubt_of_one_language_is_a_plain_word_of_another(text: str, label: str | None) -> None:
    assert parse_answer(text, labels=QUEUES).value == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("billing\n\nExplanation: the customer wants to know about this and not about bug.", "billing"),
        ("billing\nThat is what it is not", "billing"),
        ("billing it is not", None),
        ("billing. access.", None),
        ("Answer: billing. access.", None),
        ("The answer is billing. Access.", None),
        ("billing. Billing.", "billing"),
        ("billing. It is not access.", "billing"),
        ("The user cannot log in (access).", "access"),
        ("The user cannot log in = access", "access"),
        ("The user cannot log in and is therefore access", "access"),
        ("The user is unable to log in, meaning access", "access"),
        ("This is not (access)", None),
        ("(not access)", None),
        ("I do not know whether it is real and that it is access", None),
        ("El usuario no puede entrar, por lo tanto access", "access"),
        ("El usuario no puede entrar y por tanto es access", "access"),
        ("Da der Export nicht funktioniert, ist es ein bug.", "bug"),
        ("Der Export geht nicht, was auf bug hindeutet.", "bug"),
        ("Ich weiß nicht, was bug ist", None),
        ("L'export ne marche pas, l'étiquette est bug.", "bug"),
        ("Ohne Frage bug", "bug"),
        ("Ohne bug", None),
        ("It is beyond any doubt bug", "bug"),
        ("I doubt it is bug", None),
    ],
)
def test_a_doubt_ends_where_another_clause_begins(text: str, label: str | None) -> None:
    assert parse_answer(text, labels=QUEUES).value == label


def test_a_choice_that_is_explained_behind_the_answer_is_no_second_one() -> None:
    letters = ["A", "B", "C"]
    assert parse_answer("The answer is C.\n\nA. Rome is wrong", labels=letters).value == "C"
    assert parse_answer("The answer is C.\n\nA", labels=letters).value is None
    assert parse_answer("The answer falls on B", labels=letters).value == "B"


def test_a_label_that_is_only_mentioned_says_so() -> None:
    problem = "the answer mentions a label without choosing it"
    assert parse_answer("It is unlikely to be spam.", labels=SPAM).problem == problem


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("4\n\n5 would need more detail", "4"),
        ("4\n5", None),
        ("Rating: 4", "4"),
        ("The answer is 4, not 5", "4"),
    ],
)
def test_grades_are_stated_as_other_labels_are(text: str, label: str | None) -> None:
    assert parse_answer(text, labels=["1", "2", "3", "4", "5"]).value == label


HYPHENS = ["-", "\u2010", "\u2011", "\u2013"]


@pytest.mark.parametrize("hyphen", HYPHENS)
@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("It is non-compliant.", "non-compliant"),
        ("non-compliant", "non-compliant"),
        ("This needs a follow-up.", "follow-up"),
        ("follow-up", "follow-up"),
        ("It was pre-approved", None),
        ("dis-approved", None),
        ("un-approved", None),
        ("compliant-free", None),
        ("It is compliant - and that is all.", "compliant"),
    ],
)
def test_a_hyphen_is_one_however_it_is_set(text: str, label: str | None, hyphen: str) -> None:
    labels = ["compliant", "non-compliant", "follow-up", "approved"]
    assert parse_answer(text.replace("-", hyphen), labels=labels).value == label
    if label is not None:
        assert parse_answer(text, labels=[each.replace("-", hyphen) for each in labels]).value == label.replace(
            "-", hyphen
        )


def test_an_apostrophe_is_one_however_it_is_set() -> None:
    labels = ["know", "don't know"]
    assert parse_answer("don\u2019t know", labels=labels).value == "don't know"
    assert parse_answer("I don\u2019t know", labels=labels).value == "don't know"
    assert parse_answer("It isn\u2019t that I know", labels=labels).value is None
