"""Currencies as texts name them: codes, signs and words; which of them may be the same.

token_of("US$")                       # 'USD'
token_of("pounds")                    # 'pound', one of several: GBP, EGP, …
same_currency("pound", "GBP")         # True; and False with "EUR"
"""

from __future__ import annotations

from collections.abc import Iterable

_CODES = """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF
    IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
    SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED
    VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG""".split()  # noqa: SIM905  (ISO 4217)
# What a sign or a word stands for that several countries have. A bare "$" is a dollar or a peso at home; "R$" of BRL
# and the like never stand without their letter.
_FAMILIES = {
    "$": """ARS AUD BBD BMD BND BSD BZD CAD CLP COP CUP DOP FJD GYD HKD JMD KYD LRD MXN NAD NZD SBD SGD SRD TTD TWD USD
        UYU XCD""",
    "peso": "ARS CLP COP CUP DOP MXN PHP UYU",
    "pound": "EGP FKP GBP GIP LBP SDG SHP SSP SYP",
    "franc": "BIF CDF CHF DJF GNF KMF RWF XAF XOF XPF",
    "krone": "CZK DKK ISK NOK SEK",
    "rupee": "INR LKR MUR NPR PKR SCR",
    "ruble": "BYN RUB",
    "lira": "LBP SYP TRY",
    "dirham": "AED MAD",
    "riyal": "IRR OMR QAR SAR YER",
    "¥": "CNY JPY",
}
_MEANT = {code: frozenset([code]) for code in _CODES} | {
    token: frozenset(codes.split()) for token, codes in _FAMILIES.items()
}
# These stand before or behind a figure, and as they are written here.
SIGNS = {
    **{code: code for code in _CODES},
    **{"$": "$", "€": "EUR", "£": "GBP", "¥": "¥", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY", "₴": "UAH"},
    **{"₪": "ILS", "₫": "VND", "₱": "PHP", "₦": "NGN", "฿": "THB", "₨": "rupee", "円": "JPY", "元": "CNY"},
    **{"US$": "USD", "CA$": "CAD", "C$": "CAD", "AU$": "AUD", "A$": "AUD", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD"},
    **{"R$": "BRL", "MX$": "MXN", "NT$": "TWD", "zł": "PLN", "Kč": "CZK", "RM": "MYR", "Rp": "IDR", "RMB": "CNY"},
    **{"Fr.": "CHF", "SFr.": "CHF", "Rs": "rupee", "Rs.": "rupee", "kr": "krone", "kr.": "krone", "Kr": "krone"},
    **{"euro": "EUR", "euros": "EUR", "Euro": "EUR", "Euros": "EUR", "eur": "EUR", "Eur": "EUR"},
    **{"usd": "USD", "gbp": "GBP", "chf": "CHF", "jpy": "JPY", "cad": "CAD", "aud": "AUD", "sek": "SEK", "pln": "PLN"},
}
# Words, behind a figure, in any case and number, by what they stand for.
_NAMES = {
    "$": "dollar, dólar, dólares",
    "EUR": "euro",
    "USD": "US dollar, U.S. dollar, American dollar, US-Dollar, dólares estadounidenses",
    "CAD": "Canadian dollar",
    "AUD": "Australian dollar",
    "NZD": "New Zealand dollar",
    "HKD": "Hong Kong dollar",
    "SGD": "Singapore dollar",
    "TWD": "Taiwan dollar",
    "peso": "peso",
    "MXN": "Mexican peso",
    "PHP": "Philippine peso",
    "pound": "pound, Pfund, libra",
    "GBP": "pound sterling, pounds sterling, sterling, British pound, Pfund Sterling, livre sterling, livres sterling",
    "EGP": "Egyptian pound",
    "franc": "franc, Franken, franco",
    "CHF": "Swiss franc, Schweizer Franken, franc suisse, francs suisses, francos suizos",
    "krone": "krone, kroner, krona, kronor, Kronen, króna, krónur, couronne, corona",
    "SEK": "Swedish krona, Swedish kronor, Swedish crown",
    "NOK": "Norwegian krone, Norwegian kroner, Norwegian crown",
    "DKK": "Danish krone, Danish kroner, Danish crown",
    "CZK": "Czech koruna, Czech crown, koruna, koruny, korun",
    "rupee": "rupee, Rupie, Rupien, roupie, rupia",
    "INR": "Indian rupee",
    "PKR": "Pakistani rupee",
    "IDR": "rupiah",
    "ruble": "ruble, rouble, Rubel, rublo",
    "RUB": "Russian ruble, Russian rouble",
    "lira": "lira",
    "TRY": "Turkish lira",
    "dirham": "dirham",
    "AED": "UAE dirham",
    "riyal": "riyal, rial",
    "SAR": "Saudi riyal",
    "JPY": "yen, yenes, Japanese yen",
    "CNY": "yuan, Chinese yuan, renminbi",
    "PLN": "zloty, złoty, zlotych, złotych",
    "ILS": "shekel",
    "THB": "baht",
    "HUF": "forint",
    "MYR": "ringgit",
    "NGN": "naira",
}
WORDS = {
    form: token
    for token, names in _NAMES.items()
    for name in names.casefold().split(", ")
    for form in (name, f"{name}s")
}


def token_of(spelling: str) -> str | None:
    """What a spelling stands for: an ISO 4217 code, or what several countries have ("$", "pound"); None if nothing."""
    return SIGNS.get(spelling) or WORDS.get(spelling.casefold())


def is_sure(token: str | None) -> bool:
    """Whether a token is one currency alone."""
    return token is not None and token not in _FAMILIES


def closest(tokens: Iterable[str]) -> str | None:
    """What tokens beside one figure stand for: the narrowest of them, the first of equals."""
    return min(tokens, key=lambda token: len(_MEANT[token]), default=None)


def only(tokens: Iterable[str], within: str | None = None) -> str | None:
    """The only currency that tokens name; "USD" and "$" are one.

    Args:
        within: what it is known to be one of; what else is named does not count, and where none is left, it is that.
    """
    kept = {token for token in tokens if within is None or _MEANT[token] <= _MEANT[within]}
    kept = {token for token in kept if not any(_MEANT[other] < _MEANT[token] for other in kept)}
    return kept.pop() if len(kept) == 1 else within


def same_currency(one: str | None, other: str | None) -> bool:
    """Whether two currencies may be the same; one that is not named may be any, "$" any dollar or peso."""
    return one is None or other is None or not _MEANT[one].isdisjoint(_MEANT[other])
