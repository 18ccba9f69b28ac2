"""Where the status of a request may be told: an address that a stranger gave, so it must not lead inside.

What counts is what is connected to: a name is resolved once, every address it has is looked at, and one of these is what
the connection goes to. A name that changes its address in between (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pydantic import ConfigDict, with_config

from workbench.errors import InputError

MAX_URL = 2_000
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ROUTED = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out for unicast
# IANA's registries of special-purpose addresses as of October 2025, whole, and multicast. Python's own lists lag behind them
# and call some of these blocks global. IPv4-mapped and NAT64 addresses count as the IPv4 address that they hold.
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),  # of 2000::/3
        ),
    )
)
_PORTS = {"https": 443, "http": 80}
_IP = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Collection[str]]


@with_config(ConfigDict(use_attribute_docstrings=True))
@dataclass(frozen=True, kw_only=True)
class CallbackRules:
    """What is allowed beyond https to public addresses."""

    plain: bool = False
    """Call http addresses too: `--plain-callbacks`."""
    private: bool = False
    """Call addresses inside this network too: `--private-callbacks`."""
    authorities: str | None = None
    """A file of certificates to trust, in place of the system's: `--callback-authorities`."""


@dataclass(frozen=True, kw_only=True)
class CallbackUrl:
    """A URL in its parts; `target` is the path with its query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def checked(url: object, rules: CallbackRules, *, without: Collection[str] = ()) -> CallbackUrl:
    """The parts of a URL that may be called; raises InputError, quoting nothing, for any other.

    `without` are texts that it must not hold: nobody's identifier belongs into a URL.
    """
    if not isinstance(url, str) or len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise InputError(f"a callback URL is at most {MAX_URL:,} printable ASCII characters")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise InputError("a callback URL can't be read") from None
    scheme = parts.scheme
    if scheme != "https" and not (rules.plain and scheme == "http"):
        raise InputError("a callback URL is not https")
    if "@" in parts.netloc or parts.fragment or "\\" in url or not host or port == 0:
        raise InputError("a callback URL names a host, without user, password or fragment")
    if any(text in unquote(url) for text in without):
        raise InputError("a callback URL holds an identifier of the request", hint="refer to the request by its id")
    address = _literal(host)
    if address is not None:
        _require_public(address, rules)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return CallbackUrl(scheme=scheme, host=host, port=port or _PORTS[scheme], target=target)


def resolve(host: str, port: int) -> Collection[str]:
    """All addresses of a name, by the operating system; raises OSError where it has none."""
    return dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def address_of(url: CallbackUrl, rules: CallbackRules, *, resolver: Resolve = resolve) -> str:
    """The one address to connect to; raises InputError where any address of the name is not a public one."""
    found = [ipaddress.ip_address(text.partition("%")[0]) for text in resolver(url.host, url.port)]
    if not found:
        raise InputError("the host of a callback URL has no address")
    for address in found:
        _require_public(address, rules)
    return str(found[0])


def _literal(host: str) -> _IP | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:  # what the system's resolver also takes for an address: 127.1, 0x7f000001, 2130706433
        return ipaddress.ip_address(socket.inet_aton(host))
    except OSError:
        return None


def _require_public(address: _IP, rules: CallbackRules) -> None:
    meant = _embedded(address) or address
    is_routed = isinstance(meant, ipaddress.IPv4Address) or meant in _ROUTED
    if not rules.private and (
        not is_routed or any(meant in block for block in _SPECIAL if block.version == meant.version)
    ):
        raise InputError("a callback URL leads to an address that is not public")


def _embedded(address: _IP) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to. 6to4 and Teredo, which lead to one too, are special as a whole."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped
