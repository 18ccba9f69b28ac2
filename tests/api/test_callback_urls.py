"""Which addresses may be called: what a stranger writes must not lead inside."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest

from workbench.erasure.callback_url import CallbackRules, address_of, checked
from workbench.erasure.deliver import deliver
from workbench.errors import BusyError, InputError

STRICT, INSIDE = CallbackRules(), CallbackRules(plain=True, private=True)
FORBIDDEN = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *(
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ),
    *("::", "::1", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "2001::1", "fec0::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::"),
    *("64:ff9b:1::1", "100::1"),
]
# IANA's registries of special-purpose addresses (2025-10-09), whole, but for the two blocks that hold any IPv4 address
SPECIAL = [
    "0.0.0.0/8",
    "0.0.0.0/32",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.9/32",
    "192.0.0.10/32",
    "192.0.0.170/32",
    "192.0.0.171/32",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "224.0.0.0/4",
    "::1/128",
    "::/128",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:2::/48",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:30::/28",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
    "fec0::/10",
    "::/96",
]
BLOCKS = [ip_network(block) for block in SPECIAL]


def ways_to(address: IPv4Address) -> list[str]:
    """Every IPv6 address that leads to an IPv4 one: mapped, compatible, translated, 6to4, and Teredo as server and client."""
    number = int(address)
    mapped, nat64, teredo = 0xFFFF << 32, 0x64FF9B << 96, 0x20010000 << 96
    six_to_four = (0x2002 << 112) | number << 80
    return [
        str(IPv6Address(n))
        for n in (
            mapped | number,
            number,
            nat64 | number,
            six_to_four,
            teredo | number << 64,
            teredo | number ^ 0xFFFFFFFF,
        )
    ]


PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("address", FORBIDDEN)
def test_no_address_that_is_not_public_is_called(address: str) -> None:
    with pytest.raises(InputError, match="not public"):
        checked(f"https://{bracketed(address)}/x", STRICT)
    named = checked("https://example.org/x", STRICT)
    with pytest.raises(InputError, match="not public"):
        address_of(named, STRICT, resolver=lambda *_: [address])
    with pytest.raises(InputError, match="not public"):
        address_of(named, STRICT, resolver=lambda *_: [PUBLIC[0], address])  # one public address is no excuse


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_no_address_of_a_special_purpose_is_called(block: IPv4Network | IPv6Network) -> None:
    """The ends of each block and its middle, and for IPv4 each way of writing these within IPv6."""
    for address in {block[0], block[-1], block[block.num_addresses // 2]}:
        for text in [str(address), *(ways_to(address) if isinstance(address, IPv4Address) else ())]:
            with pytest.raises(InputError, match="not public"):
                checked(f"https://{bracketed(text)}/x", STRICT)
            with pytest.raises(InputError, match="not public"):
                address_of(checked("https://example.org/x", STRICT), STRICT, resolver=lambda *_, text=text: [text])


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_neighbours_of_a_special_block_are_called_unless_they_are_special_too(
    block: IPv4Network | IPv6Network,
) -> None:
    """So the blocks are no wider than the registries say."""
    routed = ip_network("2000::/3")
    for number in (int(block[0]) - 1, int(block[-1]) + 1):
        if not 0 <= number < 2**block.max_prefixlen:
            continue
        address = type(block[0])(number)
        is_special = any(address in other for other in BLOCKS if other.version == address.version)
        is_given_out = address.version == 4 or address in routed
        if is_special or not is_given_out:
            continue
        assert checked(f"https://{bracketed(str(address))}/x", STRICT).host == str(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are(address: str) -> None:
    assert checked(f"https://{bracketed(address)}/x", STRICT).host == address
    found = address_of(checked("https://example.org", STRICT), STRICT, resolver=lambda *_: [address])
    assert ip_address(found) == ip_address(address)


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1.", "0", "10.1"])
def test_other_spellings_of_an_address_are_read_as_the_system_would(host: str) -> None:
    with pytest.raises(InputError, match="not public"):
        checked(f"https://{host}/x", STRICT)


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "ftp://example.org/", "file:///etc/passwd", "gopher://example.org/", "//example.org/"),
        *(
            "https://user@example.org/",
            "https://user:word@example.org/",
            "https://@example.org/",
            "https:///x",
            "https://",
        ),
        *(
            "https://example.org:0/",
            "https://example.org:99999/",
            "https://example.org:x/",
            "https://[::1/",
            "https://.../",
        ),
        *(
            "https://example.org/#x",
            "https://example.org\\@127.0.0.1/",
            "https://example.org/a b",
            "https://exam\nple.org/",
        ),
        *(
            "https://exämple.org/",
            "https://example.org/\r\nHost: x",
            "https://example.org/\x00",
            "",
            "x",
            "https://e/" + "x" * 2000,
        ),
        *(None, 7, ["https://example.org/"]),
    ],
)
def test_what_is_no_plain_https_address_is_refused_without_being_quoted(url: object) -> None:
    with pytest.raises(InputError) as refused:
        checked(url, STRICT)
    assert "example" not in str(refused.value)


def test_parts_of_a_url_and_what_may_be_configured() -> None:
    url = checked("https://Example.org:8443/a/b?c=d", STRICT)
    assert (url.host, url.port, url.target, url.authority) == ("example.org", 8443, "/a/b?c=d", "example.org:8443")
    assert checked("https://example.org", STRICT).target == "/"
    assert checked("https://[2606:2800:220:1::1]/", STRICT).authority == "[2606:2800:220:1::1]"
    assert checked("http://127.0.0.1:9/x", INSIDE).port == 9
    with pytest.raises(InputError, match="not https"):
        checked("http://example.org/", CallbackRules(private=True))
    with pytest.raises(InputError, match="not public"):
        checked("https://127.0.0.1/", CallbackRules(plain=True))


@pytest.mark.parametrize(
    "url", ["https://e.org/?who=pupil-1000", "https://e.org/pupil%2D1000", "https://pupil-1000.org"]
)
def test_a_url_that_names_the_person_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="holds an identifier"):
        checked(url, STRICT, without=["pupil-1000"])


def test_a_name_that_changes_its_address_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when it is looked at, private a moment later. It is looked at once, and pinned."""
    answers = iter([[PUBLIC[0]], ["127.0.0.1"]])
    called: list[object] = []

    def connect(address: object, timeout: float) -> socket.socket:
        called.append((address, timeout))
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(BusyError, match="ConnectionRefusedError"):
        deliver(
            checked("https://example.org/x", STRICT),
            b"{}",
            {},
            rules=STRICT,
            seconds=3.0,
            resolver=lambda *_: next(answers),
        )
    assert called == [((PUBLIC[0], 443), 3.0)]
    with pytest.raises(InputError, match="not public"):  # the next attempt looks again
        deliver(checked("https://example.org/x", STRICT), b"{}", {}, rules=STRICT, resolver=lambda *_: next(answers))
    assert len(called) == 1


def test_a_name_without_an_address_is_a_failure_to_be_tried_again() -> None:
    def unknown(*_: object) -> list[str]:
        raise socket.gaierror

    with pytest.raises(BusyError):
        deliver(checked("https://example.org/x", STRICT), b"{}", {}, rules=STRICT, resolver=unknown)
