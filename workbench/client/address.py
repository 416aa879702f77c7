"""Where a base URL leads: its parts, its addresses, each checked against the zone that was declared.

    target = Target.of(destination)              # raises InputError for an address outside the zone
    await target.addresses()                     # every address that the name resolves to, all inside the zone

Outside the hosted zone no proxy is used; no name is believed, every address is looked at.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from workbench.errors import InputError
from workbench.privacy import Destination, check_address

_KNOWN_S = 30.0  # how long a resolved name is believed
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Proxy:
    """A proxy for a hosted endpoint, with its credentials as a header's value."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)


@dataclass
class Target:
    """What to connect to for a destination.

    Attributes:
        authority: host and port as they stand in the Host header.
        path: the base URL's own path, without a slash at its end.
        proxy: the environment's proxy for a hosted endpoint; None for this machine and the own network.
    """

    destination: Destination
    scheme: str
    host: str
    port: int
    authority: str
    path: str
    proxy: Proxy | None
    _known: tuple[float, list[str]] = (0.0, [])

    @classmethod
    def of(cls, destination: Destination) -> Target:
        """The target of a destination's base URL.

        Raises:
            InputError: it names an address outside the declared zone, or a proxy that cannot be used.
        """
        check_literal(destination)
        url = urlsplit(destination.base_url or "")
        host = url.hostname or ""
        try:
            named = host if host.isascii() else host.encode("idna").decode()
            port = url.port or _PORTS[url.scheme]
        except (ValueError, KeyError):
            raise InputError(f"{destination.model}: base_url names no host and port. Mend it.") from None
        shown = f"[{named}]" if ":" in named else named
        authority = shown if port == _PORTS[url.scheme] else f"{shown}:{port}"
        path = quote(url.path.rstrip("/"), safe="/%:@!$&'()*+,;=~-._")
        return cls(destination, url.scheme, named, port, authority, path, _proxy(destination, url.scheme, named))

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    async def addresses(self) -> list[str]:
        """The addresses of the host, or of the proxy in front of it.

        Raises:
            InputError: one of them is outside the zone.
            OSError: the name cannot be resolved.
        """
        at, found = self._known
        if found and time.monotonic() - at < _KNOWN_S:
            return found
        host, port = (self.proxy.host, self.proxy.port) if self.proxy else (self.host, self.port)
        answers = await asyncio.get_running_loop().run_in_executor(None, _resolve, host, port)
        if not self.proxy:
            for address in answers:
                check_address(self.destination.zone, self.host, address, self.destination.private_hosts)
        self._known = (time.monotonic(), answers)
        return answers


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _proxy(destination: Destination, scheme: str, host: str) -> Proxy | None:
    if destination.zone != "hosted" or not host or proxy_bypass(host):
        return None
    named = getproxies().get(scheme)
    if not named:
        return None
    url = urlsplit(named if "://" in named else f"http://{named}")
    if url.scheme != "http" or not url.hostname:
        raise InputError(f"{destination.model}: the {scheme} proxy of the environment must be an http:// address.")
    user = f"{unquote(url.username or '')}:{unquote(url.password or '')}" if url.username else None
    return Proxy(url.hostname, url.port or 80, f"Basic {base64.b64encode(user.encode()).decode()}" if user else None)


def check_literal(destination: Destination) -> None:
    """Check a base URL that names an address instead of a host: no resolver is asked for one.

    All spellings that a connection takes are read as one, `134744072` for 8.8.8.8 too.

    Raises:
        InputError: the address is outside the declared zone.
    """
    host = urlsplit(destination.base_url or "").hostname or ""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return  # a name: it is checked where it is resolved
    for *_, address in found:
        check_address(destination.zone, host, str(address[0]), destination.private_hosts)


def preflight(destination: Destination) -> None:
    """Resolve a local or private endpoint once, so that a wrong zone is told before a run starts.

    Raises:
        InputError: the host is outside its zone.
    """
    if destination.zone == "hosted" or destination.base_url is None:
        return
    check_literal(destination)
    url = urlsplit(destination.base_url)
    try:
        found = socket.getaddrinfo(url.hostname, url.port)
    except OSError:
        return  # the run will say that it cannot connect
    for *_, address in found:
        check_address(destination.zone, url.hostname or "", str(address[0]), destination.private_hosts)
