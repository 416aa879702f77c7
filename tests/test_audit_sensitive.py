"""The audit's search for personal data and secrets: planted ones are found, numbers that only look alike are not."""

from __future__ import annotations

import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from audited import Rows, colors, found, questions, says, tickets

from workbench.audit import audit, presidio
from workbench.audit.sensitive import kinds_in
from workbench.errors import InputError

HEX = "0f1e2d3c4b5a6978" * 2
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
FOUND = {
    "e-mail address": [
        "write to jane.roe@example.com",
        "mailto:J+R@mail.example.co.uk.",
        "josé@exämple.org",
        "<a.b@example.net>",
        "jane_roe@sub-domain.example.museum, please",
    ],
    "phone number": [
        "call 555-0142",
        "(212) 555-0142",
        "212-555-0142 or 212.555.0142",
        "1-800-555-0199",
        "+1 212 555 0142",
        "+44 20 7946 0958",
        "+49 (0)30 901820",
        "+491701234567",
        "Tel.: 030/901820-11",
        "TEL : 03-40210276",
        "Phone No. 0161 496 0000",
        "mobile: 07700900123",
        "my phone number is 06 12 34 56 78",
        "ring 07700 900123 after six",
        "07700 900 123",
        "0171 1234567",
        "le 06 12 34 56 78",
        "+33 6 12 34 56 78",
        "+1 (212) 555-0142",
        "0049 151 23456789",
        "Telefonnummer: 030 1234567",
        "Telefonnummer lautet 0301234567",
        "Tel.-Nr. 030 1234567",
        "Mobilnummer 0151 2345678",
        "(030) 123 456 78",
        "0176 1234 5678",
        "01761234567",
        "07911123456",
        "020 7946 0958",
        "contact number 9876543210",
        "cell phone: 415 555 2671",
        '{"phone": "4155552671"}',
        'phone="4155552671"',
        "| phone | 4155552671 |",
        "**Phone:** 4155552671",
        "Phone:\n4155552671",
        "Customer: 212-555-0142",
        "Rückrufnummer: 0176 12345678",
        "Festnetznummer: 0176 12345678, Privatnummer 0151 2345 6789",
        "Notfallnummer: 0176 12345678",
        "Servicenummer 0176 12345678",
        "Diensthandynummer 0176 12345678",
        "Geschäftstelefonnummer: 0176 12345678",
        "Kontaktnummer: 0176 12345678",
        "Meine neue Nr. 0176 12345678",
        "meine Nr: 0176 12345678",
        "I will pay when you ship my order. (415) 555-2671",
        "I want to return this item. 415-555-2671.",
        "Cancel my order (415-555-2671)",
        "This is about an order\n415-555-2671",
        "Frage zur Rechnung: 0176/12345678",
        "Bitte um Rückruf zur Bestellung: 0176 12345678",
        "Frage zur letzten Bestellung: 0176 12345678",
        "call +44 20 7946 0958 to pay, +49 30 901820 EUR 50",
        "Phones: 030 1234567",
    ],
    "social security number": ["SSN 219-09-9999", "his is 219-09-9999.", "SSN 219 09 9999", '"ssn": "219099999"'],
    "date of birth": [
        "date of birth: 12 March 1985",
        "DOB 03/12/1985",
        "D.O.B. March 12, 1985",
        "Geburtsdatum 12.03.1985",
        "born on 12/03/1985",
        "born on May 4, 1980",
        "born 4th of May 1980",
        "geboren am 4. Mai 1980",
        "geb. am 12.03.1985",
        "geb. 12.03.1985",
        "birth date: 1985-03-12",
        "birthday: 12/03/1985",
        "born 1985-03-12",
        "DOB 12/03/85",
        "DOB: 12 March",
        "date of birth: March 12th 1985",
        "the birthday is 12.05.1985",
        "birthday: 2021-05-12",
    ],
    "card number's last digits": [
        "my card ending in 4471",
        "Visa ending 4471",
        "the debit card that ends in 4471",
        "card ****4471",
        "card **** **** **** 4471",
        "card xxxx-4471",
        "VISA *4471",
        "Karte endet auf 4471",
        "card ending in **4471**",
        "take card ***4471 to pay",
        "card ****4471 EUR 50 were charged",
        "card ••••4471, $20",
    ],
    "card number": ["4111 1111 1111 1111", "card:5500-0000-0000-0004", "378282246310005", "3782 822463 10005"],
    "bank account (IBAN)": [
        "GB82 WEST 1234 5698 7654 32",
        "DE89370400440532013000",
        "pay to BE68 5390 0754 7034 NOW PLEASE",
        "NO9386011117947",
        "de89370400440532013000",
        "IBAN DE89-3704-0044-0532-0130-00.",
    ],
    "private key": [
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----",
    ],
    "access key": [
        AWS,
        "sk-proj-" + "a1B2" * 8,
        "sk-" + "abcdEFGH" * 6,
        "xai-" + "a1B2" * 10,
        "pplx-" + "a1B2" * 10,
        "ntn_" + "a1B2" * 10,
        "r8_" + "a1B2" * 9,
        "sntrys_" + "eyJp" * 12,
        "SK" + HEX,
        "ghp_" + "a1B2" * 9,
        "hf_" + "aB3d" * 8,
        "xoxb-" + "12345-abcde-67890-fghij",
        "AIza" + "Sy-A1b2C" * 4 + "abc",
        "npm_" + "a1B2" * 9,
        "sk_test_" + "a1B2" * 6,
        "SG." + "a1B2" * 5 + "." + "a1B2" * 10,
        "api_key=" + HEX,
        '{"apiKey": "' + HEX + '"}',
        "our API key is " + HEX,
        "client_secret: '" + "aB3-" * 6 + "'",
        "X_AUTH_TOKEN = " + HEX,
        "Authorization: Bearer " + HEX,
        "Authorization: Basic " + "am9lOnNlY3JldA==",
        "we send bearer " + HEX,
    ],
    "webhook": [
        "https://hooks.slack.com/services/" + "T0123ABCD/B0123ABCD/" + "a1B2" * 6,
        "https://discord.com/api/webhooks/" + "123456789/" + "a1B2" * 15,
    ],
    "web token": ["eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0In0.abcDEF123456_-"],
    "password": [
        "password: hunter22",
        "Passwort = Sommer2026!",
        "pwd is x9$kk!a",
        "password: correcthorse",
        "user: jo, password: correcthorse, and then?",
        "DB_PASSWORD=correcthorse",
        '{"password": "correcthorse"}',
        "postgres://admin:s3cret@db.example",
        "Kennwort: Sommer2026!",
        "Mein Passwort lautet Sommer2026!",
        "my password is correcthorse",
        "My password is correcthorse, and it fails",
        "https://admin:password!23@host",
        "https://admin:password-2024@host",
        "https://admin:Pass.word9@host",
        "mysql://root:xxx12345@db",
        "https://joe:$ummer2024@host",
        "password: $ummer2024!",
        "password: $ecret123",
        "password: %tgb6yhn",
        "password is %Kd93jd8",
        "password: (Summer2024)",
        "pwd: pass.word.12",
        "password is pass-1234!",
    ],
}
ALIKE = [
    "order 4021-0276-11, item 2026-000142",
    "invoice total 1,234,567.89 of 2026-03-12",
    "100 200 3000\n250 400 1000",
    "opening hours 09.00-17.00, 12.03.2026 to 14.03.2026",
    "version 1.234.567.8901 of lodash@4.17.21",
    "logo@2x.png and icon@3x.webp",
    "git@github",
    "UTC+0200, GMT +0530",
    "+5 points, +12 % on the year, -3",
    "Phone: 12.03.2026, missed",
    "phone 2 of 3, mobile 4G, cell B12, fax 10",
    "tel aviv 2026",
    "ratio 16:9, score 21-15-21, 192.168.100.200",
    "part no. A123-45-6789, 123-45-67890",
    "000-12-3456 and 912-34-5678",
    "the visa ends in 2027, the card ended the game 4471",
    "my card ends on 31.12.",
    "4111 1111 1111 1112",  # the check digit is wrong
    "4006381333931",  # a barcode
    "tracking 1Z 9999 9999 9999 9999",
    "978-3-16-148410-0",
    "GB82 WEST 1234 5698 7654 33",
    "AB12 CDEF 3456 7890 1234",
    "DE89 3704",
    "password: yes",
    "the password must have 12-characters",
    "forgot my password. It is 2026 now",
    "sk-learn-pipelines-and-estimators",
    "-----BEGIN PUBLIC KEY-----",
    "https://example.com/a:b@c",
    "born on 4 July 1776 in Boston",
    "DOB is a field of the form",
    "0.4111111111111111",
    "1752569999123",
    "SKU 2125550142",
    "the year 555-01",
    "the API key is missing, the token: expired-yesterday",
    "api_key=<your key>, api_key=${API_KEY}, token=****************",
    "a token is invalidated after 24 hours, the secret is kept",
    "secret: internationalization",
    "bearer of the certificate, Authorization: Bearer <token>",
    "https://hooks.slack.com/services/…",
    "https://slack.com/help/articles/115005265063",
    "Password: required",
    "password: whatever I try, it fails",
    "Password: wrong since yesterday morning",
    "Subject: password: forgotten",
    "password = os.environ",
    "password = settings.password",
    "I forgot my password:\nSincerely, Jo",
    "Authorization: Basic authentication",
    "born on the fourth of July",
    "Marie was born on 7 November 1867 in Warsaw",
    "opened on May 4, 1980",
    "order 0770 090012, ref 07700-90012",
    "01 02 03 04 05 06 are the numbers of the draw",
    "+12500 EUR year on year, balance: +250.00 EUR, +2500.00 EUR",
    "+3.14159, +12.500 EUR, +1234.56, +1.204.000, +12.500.000.000 EUR",
    "users grew by +1234567, by +1000000000 in all",
    "+10000 points, +100000 XP, +15 200, +49 170 items, a rise of +1 000 000",
    "GPS +48.1372, +11.5755, exactly +48.13721234 and +11.57551234",
    "+2026-11-12 10:00:00, 0020-01-01 00:00:00",
    "account 0045-2218-7, 1010 007 0070265",
    "+100 200 300 400, score +12 +15 20 3000, +1 2026 10 12 1400",
    "clone git@github.com:acme/app.git or git@gitlab.example.com:team/x.git",
    "postgresql://user:${DB_PASSWORD}@db:5432/app, mysql://root:<password>@localhost, https://user:****@host/x",
    "https://user:pass@localhost, amqp://me:{{ secret }}@localhost, ftp://me:%PASS%@localhost",
    "Bestellnummer 0170 1234567, Artikel-Nr. 0152-3345678, Kundennummer: 0151 23456789",
    "SKU 800-234-5678, model 650.555.1234, RMA 312-445-6789, order 555-0199, product code 415-555-2671",
    "Excel cell 1048576, cell 12 345 678, cell: 100 200 300",
    "Handy 1299 900 EUR, mobile 2024 1500 EUR, phone 1000 2000 3000, tel 2500000, Telephone 1234567 units",
    "pwd: /usr/local/lib64, pwd=/srv/app1/releases, password: ~/keys/key1.pem",
    "claim number 219-09-9999, case no. 219-09-9999, Fall 123-45-6789, serial 123-45-6789",
    "The Visa fee, ending with 1500; visa application ending in 1234",
    "my gift card * 2026",
    "my password is incorrect. Our password is unchanged, her password is temporary",
    "de89370400440532013000aa, 9fde89370400440532013000",
    "a birthday: 12 March 1985 was a Tuesday",
    "debit card **1200** dollars, my card is **2500** euros, credit card limit **5000 EUR, bank card fee *1000* points",
    "Playing cards *1234, Ticket card • 1250 kr, gift card *1500*, cardinal xxxx1234, playing cards * 1234 *",
    "debit card limit ***1000 EUR, gift card ****1500 points, card fee ***1200***",
    "my password is somewhere. My password is together, our password is sometimes, her password is elsewhere.",
    "Mein Passwort ist irgendwo. Mein Passwort ist nirgends, mein Passwort ist dasselbe.",
    "password: ${DB_PASSWORD1}, password: $DB_PASSWORD_1, password=%(password1)s, password: {{ secrets.PW1 }}",
    "password: <your-password-1>, password: [password1], password: ******** 1, password: %PASS1%",
    "password: $(pass db1)",
    "password = $_POST['password1']; password = $this->password1; mysql://root:$pass@localhost, ftp://a:%s@host",
    '{"password":{"type":"string","minLength":8}}, password: (value)=>value.length>=8',
    "Password: (8-16 characters), password: (8-16), Password: (min. 8 characters), password: (8-16chars)",
    "Bestellnummer 0049 1234 5678 90, Ref 0044 1234 5678 9012, Sendung 0034 1234 5678 9012, Ref. 0044 1234 5678 9012",
    "Konto 1234 0049 1234 5678 90, DE89 3704 0044 0532 0130 01, +250000000 EUR, +4912345678 €",
    "Mobile phones 2019 2020 2021 2022, mobile phones: 1998-2004 2010, phones: [1234567, 2345678], phones: 1234567",
    "Tel. 2021/2022/2023, telephone 1876 1877 1878 patents, Mobile 2023 2024 2025 sales",
    "date of birth: 1879-03-14, date Of Birth: 14 March 1879",
    "DOB March 14, 1879, DOB 14.03.1879, DOB 14th of March 1879",
    "The birthday is 12.05.2023 for our firm, born 14.03.1879, geb. 14.03.1879, birthday: 1879-03-14",
    "Kunden-Nr. 0176 12345678, Bestell Nr. 0176 12345678, Order #0171 2345678, Frage zur Rechnungsnummer: 0176 1234567",
    "Zur Bestellung 0176 12345678 fehlt ein Teil",
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_what_is_personal_or_secret_is_found(kind: str, text: str) -> None:
    assert kind in kinds_in(f"Dear all,\n{text}")
    assert kind in kinds_in(text)


@pytest.mark.parametrize("text", ALIKE)
def test_what_only_looks_alike_is_not(text: str) -> None:
    assert kinds_in(text) == set()


def test_a_part_of_an_account_is_no_phone_number() -> None:
    assert kinds_in("DE89 3704 0044 0532 0130 00") == {"bank account (IBAN)"}


LETTERS = "a" * 300_000
LARGE = ["1" * 300_000, "a@" * 100_000, "+1-" * 100_000, "AB12 " * 80_000, "://a:" * 60_000, "\n" * 200_000]
LARGE += [f"token={LETTERS}", f"password: {LETTERS}", f"authorization: basic {LETTERS}"]
LARGE += [
    name * 30_000
    for name in ("token=", "secret: a", "password:a", "password:", "sk-", "authorization: basic ", "born on ", "07700 ")
]
LARGE += [
    name * 30_000
    for name in ("(030) ", "+44 ", "card *", "visa ", "phone: ", "phone 1", "de89 ", "my password is ", "order ")
]
LARGE += [name * 30_000 for name in ("password:{", "password: <1", "password=(a1", "://a:$(", "pass: $a", "card xxxx ")]
LARGE += ["zur " * 75_000, "phones " * 40_000, "0044 " * 60_000, "birthday is " * 25_000, "password: $" + LETTERS]


@pytest.mark.parametrize("text", LARGE)
def test_no_text_takes_long_to_search(text: str) -> None:
    started = time.process_time()
    kinds_in(text)
    assert time.process_time() - started < 20  # under a second; by the square: minutes


@pytest.mark.parametrize("sensitivity", ["public", "internal"])
def test_an_item_that_is_not_restricted_is_named_with_what_it_holds(project: Path, sensitivity: str) -> None:
    def plant(items: Rows, train: Rows) -> None:
        says(items[7], "of jo@example.com, 555-0142", sensitivity=sensitivity)
        says(items[9], "of al@example.com")

    (finding,) = audit(colors(project, plant)).findings
    assert (finding.check, finding.level, finding.items) == ("personal data", "error", ("c-008", "c-010"))
    assert finding.what == (
        "2 items not marked restricted that may hold personal data or secrets (e-mail address (2), phone number (1))"
    )
    assert "example.com" not in str(finding) and "0142" not in str(finding)
    assert finding.ids == "phone number: c-008; e-mail address: c-008, c-010"


def test_a_restricted_item_may_hold_anything(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for number, text in enumerate(text for texts in FOUND.values() for text in texts[:1]):
            says(items[number], text, sensitivity="restricted")

    assert found(audit(colors(project, plant))) == []


def test_an_unlabeled_item_of_a_restricted_set_is_restricted(project: Path) -> None:
    evalset = colors(project, lambda items, train: says(items[7], "jo@example.com"), sensitivity="restricted")
    assert found(audit(evalset)) == []


@pytest.mark.parametrize(
    "put",
    [
        lambda row: row["inputs"].update(seen_at=4111111111111111),
        lambda row: row["inputs"].update(contact={"people": [{"phone": 2125550142}]}),
        lambda row: row["inputs"].update(customerPhone="4155552671"),
        lambda row: row["inputs"].update(phones=["4155552671"]),
        lambda row: row["inputs"].update(Mobilnummer="01512345678"),
        lambda row: row["inputs"].update(dateOfBirth="1985-03-12"),
        lambda row: row["inputs"].update(birth_date="1985-03-12"),
        lambda row: row["inputs"].update(ssn=219099999),
        lambda row: row["inputs"].update(contact_number="9876543210"),
        lambda row: row["inputs"].update(turns=["none", "jo@example.com"]),
        lambda row: row["expectations"].update(note="jo@example.com"),
        lambda row: row.update(slice={"author": "jo@example.com"}),
    ],
)
def test_every_part_of_an_item_is_searched(project: Path, put: Any) -> None:
    assert found(audit(tickets(project, lambda items, train: put(items[5])))) == [("personal data", "error", ("k-06",))]


@pytest.mark.parametrize(
    "inputs",
    [
        {"birth_date": "1879-03-14"},
        {"dateOfBirth": "14 March 1879"},
        {"mobile_phones": "1998-2004 2010"},
        {"order": "0171 2345678"},
        {"note": "phones: 1234567, 2345678"},
    ],
)
def test_a_field_that_only_looks_alike_is_not_found(project: Path, inputs: dict[str, str]) -> None:
    assert found(audit(tickets(project, lambda items, train: items[5]["inputs"].update(inputs)))) == []


@pytest.mark.parametrize(
    ("changed", "places"),
    [
        ({"id": "jo@example.com"}, "1 item of items.jsonl whose id or cluster"),
        ({"cluster": "from jo@example.com"}, "1 item of items.jsonl whose id or cluster"),
        ({"id": "key " + AWS, "sensitivity": "restricted"}, "1 item of items.jsonl whose id or cluster"),
        ({"id": "212-555-0142", "cluster": "219-09-9999"}, None),  # digits of an id say nothing
    ],
)
def test_an_id_that_says_who_it_was_is_found_and_not_repeated(
    project: Path, changed: dict[str, str], places: str | None
) -> None:
    report = audit(colors(project, lambda items, train: items[6].update(changed)))
    assert [(finding.check, finding.level, finding.items) for finding in report.findings] == (
        [("personal data", "error", ())] if places else []
    )
    if places:
        assert f"{places} may hold personal data or secrets (" in str(report) and "): item 7 of the file" in str(report)
        assert all(value not in str(report) for name, value in changed.items() if name != "sensitivity")


@pytest.mark.parametrize(
    ("says", "level"),
    [
        ("Write to jane.roe@acme.example for help.", "warning"),
        (f"Use api_key={HEX}.", "error"),
        (f"You are {AWS}, jane.roe@acme.example", "error"),
        ("Tell them to write to support@acme.example or to call 0800 555 0142.", None),
        ("Dates as 12.03.2026, phone numbers as +49 30 1234567.", None),
    ],
)
def test_a_prompt_is_searched_for_it_goes_to_every_model(project: Path, says: str, level: str | None) -> None:
    variants = {
        "default": {"messages": [{"role": "user", "content": "{{ inputs.thing }}"}]},
        "long": {"messages": [{"role": "system", "content": says}, {"role": "user", "content": "{{ inputs.thing }}"}]},
    }
    report = audit(colors(project, variants=variants))
    assert found(report) == ([("personal data", level, ())] if level else [])
    if level:
        assert "1 variant whose prompt may hold personal data or secrets (" in str(report) and "): long." in str(report)
        assert "acme" not in str(report) and HEX not in str(report) and AWS not in str(report)


def test_the_kinds_in_restricted_items_are_told_as_a_fact(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        says(items[7], "of jo@example.com", sensitivity="restricted")

    report = audit(colors(project, plant))
    assert found(report) == []
    assert (
        report.restricted_kinds is not None and report.restricted_kinds["e-mail address"] == 2
    )  # one was there before
    assert "restricted items seem to hold: e-mail address (2), phone number (1)" in report.facts()
    assert "jo@" not in str(report)


def test_restricted_items_that_hold_nothing_are_told_so(project: Path) -> None:
    report = audit(questions(project, sensitivity="restricted"))
    assert report.facts()[-1] == "restricted items: no personal data or secrets were found in them"
    assert not any("restricted items" in line for line in audit(tickets(project)).facts())


def test_training_items_are_searched(project: Path) -> None:
    evalset = colors(project, lambda items, train: says(train[1], "jo@example.com"))
    assert found(audit(evalset)) == [("personal data", "error", ("t-002",))]


def test_an_open_item_with_the_inputs_of_a_restricted_one_is_found(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items[7]["sensitivity"] = "restricted"
        items.append({**items[7], "id": "x", "sensitivity": "internal"})

    assert found(audit(colors(project, plant))) == [
        ("duplicates", "warning", ("c-008", "x")),
        ("sensitivity", "error", ("x",)),
    ]


# Presidio, the extra: not installed here; a module of its shape stands for it.


class Recognizer:
    """Finds a word, with a score."""

    def __init__(self, entity: str, word: str, score: float, context: list[str] | None) -> None:
        self.supported_entities, self.context = [entity], context
        self._word, self._score = word, score

    def analyze(self, text: str, entities: list[str], nlp_artifacts: None) -> list[Any]:
        assert entities == self.supported_entities
        at = text.find(self._word)
        return [SimpleNamespace(entity_type=entities[0], start=at, end=at + 3, score=self._score)] if at >= 0 else []


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for presidio_analyzer of a version that has three of our recognizers."""
    package, recognizers = ModuleType("presidio_analyzer"), ModuleType("presidio_analyzer.predefined_recognizers")
    package.__spec__ = ModuleSpec("presidio_analyzer", None)
    package.predefined_recognizers = recognizers  # type: ignore[attr-defined]
    made = {
        "CryptoRecognizer": ("CRYPTO", "bc1q", 1.0, ["wallet"]),
        "NhsRecognizer": ("UK_NHS", "943 476", 1.0, ["nhs"]),
        "SgFinRecognizer": ("SG_NRIC_FIN", "S1234567D", 0.3, ["fin"]),
        "UrlRecognizer": ("URL", "http", 1.0, None),
    }
    for name, arguments in made.items():
        setattr(recognizers, name, lambda arguments=arguments: Recognizer(*arguments))
    monkeypatch.setitem(sys.modules, "presidio_analyzer", package)
    monkeypatch.setitem(sys.modules, "presidio_analyzer.predefined_recognizers", recognizers)
    presidio._recognizers.cache_clear()
    yield package
    presidio._recognizers.cache_clear()


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("send it to bc1qxy", {"CRYPTO"}),  # the form alone is enough
        ("NHS number 943 476 5919", {"UK_NHS"}),
        ("order number 943 476 5919", set()),  # plain digits take a word
        ("the NHS wrote to us in spring, and the order has the number 943 476", set()),  # too far away
        ("fin S1234567D", set()),  # not sure enough
        ("see http://example.com", set()),  # not looked for
        ("a nice day", set()),
    ],
)
def test_presidio_finds_numbers_by_form_or_with_a_word_before_them(
    extra: ModuleType, text: str, kinds: set[str]
) -> None:
    assert presidio.kinds_in(text) == kinds


@pytest.mark.parametrize(
    ("detector", "items"), [("auto", ("c-008", "c-010")), ("presidio", ("c-008", "c-010")), ("patterns", ("c-008",))]
)
def test_presidio_looks_too_where_it_is_installed_and_wanted(
    project: Path, extra: ModuleType, detector: Any, items: tuple[str, ...]
) -> None:
    def plant(items: Rows, train: Rows) -> None:
        says(items[7], "jo@example.com")
        says(items[9], "NHS 943 476")

    assert found(audit(colors(project, plant), detector=detector)) == [("personal data", "error", items)]


def test_a_presidio_that_is_not_there_or_broken_is_one_clear_message(
    project: Path, monkeypatch: pytest.MonkeyPatch, extra: ModuleType
) -> None:
    monkeypatch.delattr(extra, "predefined_recognizers")
    monkeypatch.delitem(sys.modules, "presidio_analyzer.predefined_recognizers")
    with pytest.raises(InputError, match=r"the detector presidio cannot be loaded \(.*\)\. Install it anew"):
        audit(colors(project), detector="presidio")
    monkeypatch.setattr("workbench.audit.sensitive.presidio_installed", lambda: False)
    with pytest.raises(InputError, match=r"not installed\. Install it: pip install 'workbench\[pii\]'\."):
        audit(colors(project), detector="presidio")
    assert found(audit(colors(project))) == []


def test_a_detector_that_is_not_there_is_told_those_that_are(project: Path) -> None:
    detector: Any = "nope"
    with pytest.raises(InputError, match=r"there is no detector 'nope'\. There are: auto, patterns, presidio"):
        audit(colors(project), detector=detector)
