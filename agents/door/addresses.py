"""Which addresses an agent may be called at. Names are not looked up here: see `agents.door.names` and `agents.door`.

Whoever registers an endpoint chooses where this server connects to. Without a rule, that reaches what only this
server can reach: its own ports, the private network, the metadata service of the cloud with its credentials.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Self

from agents.errors import AddressBlocked

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING: Final = "FLEETLM_AGENT_ALLOWED_NETWORKS"

_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
"""All that IANA has set aside for global unicast; the rest of IPv6 is special or reserved."""

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")

# IANA IPv4 and IPv6 Special-Purpose Address Registries, the multicast registries, and the two public addresses at
# which clouds answer their guests. Written out, because what `ipaddress` takes for global differs by version.
# https://www.iana.org/assignments/iana-ipv4-special-registry
# https://www.iana.org/assignments/iana-ipv6-special-registry
_SPECIAL: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified (this host)"),  # RFC 791, 1122
        ("10.0.0.0/8", "private"),  # RFC 1918
        ("100.100.100.200/32", "cloud metadata"),  # Alibaba Cloud
        ("100.64.0.0/10", "carrier-grade NAT"),  # RFC 6598
        ("127.0.0.0/8", "loopback"),  # RFC 1122
        ("168.63.129.16/32", "cloud metadata"),  # Azure's WireServer
        ("169.254.169.254/32", "cloud metadata"),
        ("169.254.0.0/16", "link-local"),  # RFC 3927
        ("172.16.0.0/12", "private"),  # RFC 1918
        ("192.0.0.192/32", "cloud metadata"),  # Oracle Cloud
        ("192.0.0.0/24", "reserved for IETF protocols"),  # RFC 6890
        ("192.0.2.0/24", "documentation"),  # RFC 5737
        ("192.88.99.0/24", "6to4 relay"),  # RFC 7526
        ("192.168.0.0/16", "private"),  # RFC 1918
        ("198.18.0.0/15", "benchmarking"),  # RFC 2544
        ("198.51.100.0/24", "documentation"),  # RFC 5737
        ("203.0.113.0/24", "documentation"),  # RFC 5737
        ("224.0.0.0/4", "multicast"),  # RFC 5771
        ("255.255.255.255/32", "broadcast"),  # RFC 919
        ("240.0.0.0/4", "reserved"),  # RFC 1112
        ("::/128", "unspecified (this host)"),  # RFC 4291
        ("::1/128", "loopback"),  # RFC 4291
        ("::/96", "IPv4-compatible"),  # RFC 4291, deprecated
        ("::ffff:0:0:0/96", "IPv4-translated"),  # RFC 2765
        (str(_NAT64), "NAT64"),  # RFC 6052
        (str(_NAT64_LOCAL), "NAT64"),  # RFC 8215
        ("100::/64", "discard-only"),  # RFC 6666
        ("100:0:0:1::/64", "a dummy prefix"),  # RFC 9780
        ("2001::/32", "Teredo"),  # RFC 4380
        ("2001:2::/48", "benchmarking"),  # RFC 5180
        ("2001::/23", "reserved for IETF protocols"),  # RFC 2928
        ("2001:db8::/32", "documentation"),  # RFC 3849
        ("2002::/16", "6to4"),  # RFC 3056
        ("3fff::/20", "documentation"),  # RFC 9637
        ("5f00::/16", "segment routing"),  # RFC 9602
        ("fd00:ec2::/32", "cloud metadata"),  # Amazon
        ("fd20:ce::254/128", "cloud metadata"),  # Google Cloud
        ("fc00::/7", "private (unique local)"),  # RFC 4193
        ("fe80::/10", "link-local"),  # RFC 4291
        ("fec0::/10", "site-local"),  # RFC 3879, deprecated
        ("ff00::/8", "multicast"),  # RFC 4291
    )
)


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Where calls may go: to public addresses, and to the networks of `allowed`."""

    allowed: tuple[Network, ...] = ()
    require_https: bool = True

    @classmethod
    def parse(cls, networks: Iterable[str], *, require_https: bool) -> Self:
        """The rules of a setting's networks, such as `10.1.0.0/16`. Raises `ValueError` for what is none."""
        return cls(tuple(ip_network(network) for network in networks), require_https)

    def check(self, address: Address) -> None:
        """Raise `AddressBlocked` unless the address may be called, whatever other address it hides in itself."""
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise AddressBlocked(f"{address} may not be called: an address with a zone never is.")
        for each in _judged(address):
            kind = special_kind(each)
            if kind is not None and not any(each in network for network in self.allowed):
                inside = "" if each == address else f" (inside {address})"
                raise AddressBlocked(
                    f"{each}{inside} may not be called: it is {kind}. "
                    f"To allow it, add its network to {SETTING}."
                )


def special_kind(address: Address) -> str | None:
    """What the address is set aside for; None for a public one. Addresses hidden in it are not looked at."""
    for network, kind in _SPECIAL:
        if address in network:
            return kind
    return None if isinstance(address, IPv4Address) or address in _PUBLIC_IPV6 else "reserved"


def _judged(address: Address) -> Iterator[Address]:
    """The addresses that a packet to this one may reach: a translator or a tunnel takes it to the one inside."""
    if isinstance(address, IPv4Address):
        yield address
    elif address in _MAPPED:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        yield address
        yield from _embedded(address)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    bits = int(address)
    if address in _NAT64:
        yield IPv4Address(bits & 0xFFFFFFFF)
    if address in _NAT64_LOCAL:
        # Where in it depends on the translator: both places in use are judged.
        yield from (IPv4Address(inside) for inside in (bits & 0xFFFFFFFF, _after_48_bits(bits)) if inside)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _after_48_bits(bits: int) -> int:
    """The IPv4 address after a prefix of 48 bits, around the octet that is kept free: RFC 6052, 2.2."""
    return (bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF
