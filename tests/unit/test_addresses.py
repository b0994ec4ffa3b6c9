"""Which addresses an agent may be called at."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from random import Random

import pytest

from agents.door.addresses import AddressRules, special_kind
from agents.errors import AddressBlocked

PUBLIC_ONLY = AddressRules()


def is_allowed(address: str, *allowed: str) -> bool:
    try:
        AddressRules.parse(allowed, require_https=True).check(ip_address(address))
    except AddressBlocked:
        return False
    return True


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
        "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
        "198.20.0.0", "223.255.255.255", "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00::1",
        "::ffff:8.8.8.8",
    ],
)  # fmt: skip
def test_public_addresses_are_called(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "unspecified"),  # noqa: S104  # nothing listens
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.100.100.200", "cloud metadata"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("168.63.129.16", "cloud metadata"),
        ("169.254.0.1", "link-local"),
        ("169.254.169.254", "cloud metadata"),
        ("172.31.255.255", "private"),
        ("192.0.0.9", "reserved for IETF protocols"),
        ("192.0.0.192", "cloud metadata"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "6to4 relay"),
        ("192.168.255.255", "private"),
        ("198.19.255.255", "benchmarking"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.1", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::127.0.0.1", "IPv4-compatible"),
        ("::8.8.8.8", "IPv4-compatible"),
        ("::ffff:0:127.0.0.1", "IPv4-translated"),
        ("64:ff9b::8.8.8.8", "NAT64"),
        ("64:ff9b:1::1", "NAT64"),
        ("100::1", "discard-only"),
        ("100:0:0:1::1", "a dummy prefix"),
        ("200::1", "reserved"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
        ("2001:2::1", "benchmarking"),
        ("2001:20::1", "reserved for IETF protocols"),
        ("2001:db8::1", "documentation"),
        ("2002:7f00:1::", "6to4"),
        ("3fff:fff::1", "documentation"),
        ("4000::1", "reserved"),
        ("5f00::1", "segment routing"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "cloud metadata"),
        ("fd20:ce::254", "cloud metadata"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
    ],
)
def test_special_addresses_are_refused_by_name(address: str, kind: str) -> None:
    with pytest.raises(AddressBlocked) as caught:
        PUBLIC_ONLY.check(ip_address(address))
    assert f"it is {kind}" in str(caught.value)
    assert str(ip_address(address)) in str(caught.value)
    assert "FLEETLM_AGENT_ALLOWED_NETWORKS" in str(caught.value)
    assert caught.value.outcome == "blocked"


@pytest.mark.parametrize(
    "address", ["::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:169.254.169.254", "::ffff:0.0.0.0"]
)
def test_a_mapped_address_is_what_it_maps_to(address: str) -> None:
    mapped = IPv6Address(address).ipv4_mapped
    assert mapped is not None
    with pytest.raises(AddressBlocked, match=str(mapped)):
        PUBLIC_ONLY.check(ip_address(address))
    assert is_allowed(address, f"{mapped}/32")
    assert not is_allowed(address, "::ffff:0:0/96"), "the outer form allows nothing by itself"


def test_an_allowed_network_allows_its_addresses_only() -> None:
    assert is_allowed("127.0.0.1", "127.0.0.0/8", "::1/128")
    assert is_allowed("::1", "127.0.0.0/8", "::1/128")
    assert is_allowed("10.1.255.1", "10.1.0.0/16")
    assert not is_allowed("10.2.0.1", "10.1.0.0/16")
    assert not is_allowed("169.254.169.254", "127.0.0.0/8", "::1/128")
    assert is_allowed("8.8.8.8", "10.1.0.0/16"), "public addresses need no word"


@pytest.mark.parametrize(
    ("address", "network", "inside"),
    [
        ("64:ff9b::127.0.0.1", "64:ff9b::/96", "127.0.0.1"),
        ("64:ff9b::169.254.169.254", "64:ff9b::/96", "169.254.169.254"),
        ("64:ff9b:1::10.0.0.1", "64:ff9b:1::/48", "10.0.0.1"),
        # RFC 6052, 2.2: with a prefix of 48 bits the address is around the octet that is kept free.
        ("64:ff9b:1:7f00:0:100::", "64:ff9b:1::/48", "127.0.0.1"),
        ("64:ff9b:1:7f00:0:100:808:808", "64:ff9b:1::/48", "127.0.0.1"),
        ("2002:a00:1::1", "2002::/16", "10.0.0.1"),
        # Teredo keeps the client's address inverted.
        ("2001:0:808:808::80ff:fffe", "2001::/32", "127.0.0.1"),
        ("2001:0:7f00:1::f7f7:f7f7", "2001::/32", "127.0.0.1"),
    ],
)
def test_what_a_translator_unpacks_is_judged_too(address: str, network: str, inside: str) -> None:
    assert not is_allowed(address)
    with pytest.raises(AddressBlocked, match=rf"^{inside} \(inside "):
        AddressRules.parse([network], require_https=True).check(ip_address(address))
    assert is_allowed(address, network, f"{inside}/32")


def test_a_translator_to_a_public_address_is_called_if_it_is_named() -> None:
    assert is_allowed("64:ff9b::8.8.8.8", "64:ff9b::/96")
    assert is_allowed("64:ff9b:1:808:8:800::", "64:ff9b:1::/48")
    assert is_allowed("2002:808:808::1", "2002::/16")


@pytest.mark.parametrize("address", ["fe80::1%eth0", "2606:4700:4700::1111%1", "::1%lo"])
def test_a_zone_is_never_allowed(address: str) -> None:
    assert not is_allowed(address, "::/0")


@pytest.mark.parametrize("network", ["10.0.0.1/8", "localhost", "", "10.0.0.0/33"])
def test_a_wrong_network_is_no_rule(network: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        AddressRules.parse([network], require_https=True)


CALLED_GLOBAL_BY_PYTHON = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # public by number, Azure's own by use
            "192.0.0.0/24",  # some of it, in newer versions
            "192.88.99.0/24",
            "224.0.0.0/4",
            "::/3",  # IANA has not given it out
            "2001::/23",
            "2002::/16",
            "3fff::/20",  # newer than some versions
            "4000::/2",
            "8000::/1",
        ),
    )
)


def samples() -> list[str]:
    """Both ends of every network in question, their neighbours, and many addresses by chance."""
    random = Random(4)
    edges = [
        IPv4Network("0.0.0.0/0"), IPv6Network("::/0"), *CALLED_GLOBAL_BY_PYTHON,
        *map(ip_network, ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
                          "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
                          "240.0.0.0/4", "2000::/3", "2001:db8::/32", "fc00::/7", "fe80::/10", "fec0::/10")),
    ]  # fmt: skip
    found = []
    for network in edges:
        first, last = int(network.network_address), int(network.broadcast_address)
        top = 2**network.max_prefixlen - 1
        numbers = {
            first,
            last,
            max(0, first - 1),
            min(top, last + 1),
            *(random.randint(first, last) for _ in range(500)),
        }
        found += [str(type(network.network_address)(number)) for number in numbers]
    return found


def test_nothing_that_python_knows_as_special_is_called() -> None:
    for text in samples():
        address = ip_address(text)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            continue
        if not address.is_global:
            assert special_kind(address) is not None, f"{text} is not global"
        elif special_kind(address) is not None:
            assert any(address in network for network in CALLED_GLOBAL_BY_PYTHON), f"{text} is global"
