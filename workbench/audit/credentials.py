"""How keys, tokens and passwords are written: by their vendors' prefixes, behind a name, in a header, in an address.

What stands behind a name is taken for a secret only where it looks like one: long, with letters and digits; a password
may be a word, at the end of its clause. Tests hold the patterns against texts that only speak of such things.
"""

from __future__ import annotations

import re

# The value may end in "=" as base64 does; "<your key>", "${KEY}" and "****" begin with none of its characters.
_LONG = r"(?=[A-Za-z_./+~-]*\d)(?=[\d_./+~-]*[A-Za-z])[A-Za-z0-9][\w./+~-]{15,}"
_NAMES = (
    r"(?:(?:api|access|secret|private|account|auth|client|encryption|signing|shared[ _-]access)[ _-]?)"
    r"(?:key|token|secret)(?:[ _-]?id)?|secret|token|passphrase"
)
_BEHIND = r"[\"'`*]{0,3}[ \t]{0,3}(?:=>|:=|[:=]|\bis\b)[ \t]{0,3}[\"'`]{0,3}"
_NO_PASSWORD = (  # words that stand behind "Password:" and are none
    r"(?!(?:required|optional|forgotten|vergessen|expired|abgelaufen|incorrect|invalid|unknown|unchanged|protected|changed"
    r"|rejected|accepted|disabled|redacted|restricted|undefined|anything|whatever|something|(?:re)?setting|recovery"
    r"|characters?|minimum|maximum|complexity|managers?|problems?|questions?|x{6,}|https?:"
    r"|(?:some|any|every|no|else)where|everything|together|sometimes|(?:irgend|nirgend|anders)wo|irgendwas|nirgends"
    r"|woanders|dasselbe|derselbe|dieselbe|manchmal)\b"
    r"|[a-z_]+\.[a-z_.]+\b)"  # settings.password
)

_PASSWORD = r"(?:password|passwd|pwd|passwort|kennwort)"
_PATH = r"[\"'`]?(?:~?/|\./|[A-Za-z]:\\)"
# What stands for a value in documentation, as a whole: "${DB_PASSWORD}", "<password>", "****", "%s", "password".
# "$ummer2024" and "password-2024" only begin like it. Lengths are bounded, for a text may have many an open bracket.
_PLACEHOLDER = (
    r"[\"'`]?(?:"
    r"(?:[$%#]?\{\{?[^}\n]{0,80}\}{1,2}|\$\([^)\n]{0,80}\)|(?-i:\$[A-Z_][A-Z0-9_]*)|\$[a-z_]+"
    r"|%[sdr]|%\([^)\n]{0,80}\)[sdr]|%\w{1,40}%|<[^>\n]{0,80}>|\[[^\]\n]{0,80}\]|[*•.x]{3,80}"
    r"|(?:your[_-]?|my[_-]?)?(?:password|passwd|pass|pwd))"
    r"(?=[.!?]{0,3}(?:[@\s\"'`,;)}\]|&<]|$))"
    r"|\$[a-z_]\w{0,40}(?:->|\[|::)"  # $_POST["password1"]
    r"|\((?!(?=[^\s()]{0,40}[^\W\d_])[^\s()]{6,40}\)(?:[@.,;!?\"'`]|\s|$)))"  # one word in brackets may be the password
)
# "My password is incorrect": what its ending says to be an adjective, or a participle, is none.
_NO_ADJECTIVE = (
    r"(?!\w{0,58}(?:ed|en|ly|ing|[ai]ble|ive|ary|ent|ant|ect|ure|ous|ful|less|al|id|weak|wrong|unknown|falsch|richtig"
    r"|t|bar|los|lich|ig|isch)\b)"
)

SECRETS = {
    "private key": re.compile(
        r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
        r"|\bPuTTY-User-Key-File-\d|\bAGE-SECRET-KEY-1[0-9A-Z]{50}"
    ),
    "access key": re.compile(
        r"\b(?:"
        r"sk-(?=[A-Za-z_-]{0,80}\d)[A-Za-z0-9_-]{20,}|sk-(?=[a-z]{0,60}[A-Z])(?=[A-Z]{0,60}[a-z])[A-Za-z0-9]{32,}"
        r"|(?:xai|pplx)-[A-Za-z0-9]{32,}|ntn_[A-Za-z0-9]{24,}|r8_[A-Za-z0-9]{32,}|sntrys_[\w+/=-]{32,}|SK[0-9a-f]{32}"
        r"|A(?:KI|SI)A[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{50,}"
        r"|xox[abeoprs]-[A-Za-z0-9-]{20,}|xapp-[A-Za-z0-9-]{20,}|AIza[0-9A-Za-z_-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}"
        r"|hf_[A-Za-z0-9]{30,}|gl(?:pat|dt|rt)-[\w-]{20,}|(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}"
        r"|npm_[A-Za-z0-9]{30,}|pypi-AgE[\w-]{40,}|dckr_pat_[\w-]{20,}|do[opr]_v1_[a-f0-9]{64}"
        r"|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|SG\.[\w-]{16,32}\.[\w-]{16,64}|hvs\.[\w-]{24,}|lin_api_\w{30,}|gsk_[A-Za-z0-9]{40,}"
        r"|sq0(?:atp|csp)-[\w-]{20,}|AccountKey=[A-Za-z0-9+/]{40,}"
        r")"
        rf"|(?<![A-Za-z])(?i:{_NAMES}){_BEHIND}{_LONG}"
        r"|\b(?i:authorization)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?i:bearer|basic|token)\s"
        r"(?=\S{0,60}[\d=]|\S{0,30}[a-z]\S{0,30}[A-Z])[\w.~+/-]{8,}"
        rf"|\b(?i:bearer)\s{_LONG}"
    ),
    "webhook": re.compile(
        r"\bhooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{16,}|\bdiscord(?:app)?\.com/api/webhooks/\d+/[\w-]{16,}"
        r"|\bwebhook\.office\.com/webhookb2/[\w@-]{16,}",
        re.I,
    ),
    "web token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    "password": re.compile(
        rf"\b{_PASSWORD}\s*(?:is|ist|lautet|[:=])\s*(?=\S{{0,60}}\d)(?!\(?\d+[- ]?(?:\d+[- ]?)?(?:char|digit|letter))"
        rf"(?!{_PATH}|{_PLACEHOLDER})\S{{6,}}"
        rf"|{_PASSWORD}[\"'`]?[ \t]{{0,3}}[:=][ \t]{{0,3}}[\"'`]?{_NO_PASSWORD}(?!{_PATH})"
        r"\w[^\s\"'`,;)]{7,60}(?=[\"'`,;)]|[ \t]*$)"
        rf"|\b(?:my|our|his|her|mein|unser|sein|ihr) {_PASSWORD} (?:is|ist|lautet):? {_NO_PASSWORD}{_NO_ADJECTIVE}"
        r"[^\W\d_]{8,60}(?=[\"'`,;.)!]|[ \t]*$)"
        rf"|://[^\s/:@]+:(?!{_PLACEHOLDER})[^\s/@]{{3,}}@",
        re.I | re.M,
    ),
}
