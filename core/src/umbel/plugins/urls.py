"""URLs of brokers and stores, and how they are shown without their secrets."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"
_SECRET_KEY = re.compile(
    r"pass|pwd|secret|token|credential|signature|api_?key|access_?key|account_?key|private_?key|^key$|^auth$|^sig$",
    re.I,
)
_SCHEME = re.compile(r"^\s*([A-Za-z][A-Za-z0-9+.\-]*)://")
_QUERY = re.compile(r"\?(?=[A-Za-z0-9_.\-%\[\]]+=)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s\"'<>]+")
SHORTEST = 3
"""Characters of a secret that is also looked for outside of its URL; a shorter one is part of too many words."""


def scheme_of(url: str) -> str:
    """The scheme, in lower case; empty if there is none."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def mask(url: str) -> str:
    """The URL, or several joined by ``;``, with *** in place of passwords and of secret parameters."""
    return ";".join(_masked(each) for each in _several(url))


def mask_text(text: str, *urls: str) -> str:
    """The text with every URL in it masked, and the secrets of `urls` wherever else they are."""
    for url in urls:
        text = text.replace(url, mask(url))
    text = _URL.sub(lambda found: mask(found[0]), text)
    for secret in sorted({secret for url in urls for secret in secrets(url)}, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    return text


def secrets(url: str) -> set[str]:
    """The secrets in the URL, as they are written and as they are meant."""
    found = set()
    for each in _several(url):
        userinfo, query = _split(each)[1::2]
        if userinfo:
            user, colon, password = userinfo.partition(":")
            found.add(password if colon else user)
        for pair in query.split("&"):
            key, _, value = pair.partition("=")
            if _SECRET_KEY.search(unquote(key)):
                found.add(value)
    return {form for secret in found for form in (secret, unquote(secret), unquote(secret.replace("+", " "))) if form}


def _several(url: str) -> list[str]:
    """Celery's list of brokers to try; a semicolon elsewhere is the password's."""
    return re.split(r";(?=\s*[A-Za-z][A-Za-z0-9+.\-]*://)", url)


def _split(url: str) -> tuple[str, str, str, str]:
    """Scheme with its slashes, user information, what follows the @, and the query."""
    found = _SCHEME.match(url)
    end = found.end() if found else 0
    scheme, rest = url[:end], url[end:]
    query = ""
    start = _QUERY.search(rest)
    if start:
        rest, query = rest[: start.start()], rest[start.end() :]
    # Without an authority there is nobody to log in: an @ in the path of a file is just that. Otherwise the last one
    # counts, because people forget to quote those in their passwords.
    userinfo, at, host = ("", "", rest) if rest.startswith("/") else rest.rpartition("@")
    if not at and "@" in query:  # a question mark in the password
        userinfo, _, host = f"{rest}?{query}".rpartition("@")
        query = ""
    return scheme, userinfo, host, query


def _masked(url: str) -> str:
    scheme, userinfo, host, query = _split(url)
    if userinfo:
        user, colon, _ = userinfo.partition(":")
        host = f"{user}:{HIDDEN}@{host}" if colon else f"{HIDDEN}@{host}"
    if not query:
        return f"{scheme}{host}"
    pairs = []
    for pair in query.split("&"):
        key, equals, _ = pair.partition("=")
        pairs.append(f"{key}={HIDDEN}" if equals and _SECRET_KEY.search(unquote(key)) else pair)
    return f"{scheme}{host}?{'&'.join(pairs)}"
