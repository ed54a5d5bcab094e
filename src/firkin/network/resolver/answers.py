"""DNS messages: which answer a question gets from the containers' names. Pure; no I/O.

A name that a container has is answered here whatever type is asked for: with no address of the
wanted kind the answer is empty (NODATA), never NXDOMAIN, or clients that ask for IPv6 first would
take the name for unknown. Any other name is a question for other servers.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

import dnslib

from firkin.network.resolver import protocol, zone

TTL = 5
"""Seconds. Containers come and go; nobody should remember them for long."""

PLAIN_SIZE = 512
MAX_SIZE = 1232
"""The longest answer over UDP, in bytes, without and with EDNS (what fits in every MTU)."""

_MAX_ROTATIONS = 16


class Malformed(Exception):
    """A message that cannot be answered at all."""


class Question:
    """A message from a container, parsed as far as an answer needs it."""

    def __init__(self, message: bytes) -> None:
        if len(message) < 12 or message[2] & 0x80:
            raise Malformed
        try:
            self._record = dnslib.DNSRecord.parse(message)
            self.bad = len(self._record.questions) != 1
        except Exception:  # dnslib raises more than its own errors for hostile bytes
            header = dnslib.DNSHeader(id=int.from_bytes(message[:2], "big"), qr=0)
            self._record = dnslib.DNSRecord(header)
            self.bad = True

    @property
    def name(self) -> str:
        """The name asked for, without the last dot."""
        return str(self._record.q.qname).rstrip(".")

    @property
    def size(self) -> int:
        """How long an answer over UDP may be."""
        for extra in self._record.ar:
            if extra.rtype == dnslib.QTYPE.OPT:
                return min(max(int(extra.rclass), PLAIN_SIZE), MAX_SIZE)
        return PLAIN_SIZE

    def local(self, names: zone.Zone, client: protocol.Client) -> list[bytes] | None:
        """The answers that take turns, if this is about containers; None: ask elsewhere."""
        record = self._record
        if self.bad:
            return [self.error(dnslib.RCODE.FORMERR)]
        if record.header.opcode != dnslib.OPCODE.QUERY:
            return [self.error(dnslib.RCODE.NOTIMP)]
        if record.q.qclass != dnslib.CLASS.IN:
            return None
        if record.q.qtype == dnslib.QTYPE.PTR and (address := _reversed(self.name)) is not None:
            found = names.name_of(client, address)
            if found is None:
                return None
            return [self._pointer(found) if found else self.error(dnslib.RCODE.NXDOMAIN)]
        addresses = names.addresses(client, self.name)
        if addresses is None:
            return None
        return self._addresses(addresses)

    def _reply(self) -> Any:
        reply = self._record.reply(ra=1, aa=0)
        if any(extra.rtype == dnslib.QTYPE.OPT for extra in self._record.ar):
            reply.add_ar(dnslib.EDNS0(udp_len=MAX_SIZE))
        return reply

    def error(self, code: int) -> bytes:
        """An answer with this RCODE and nothing else."""
        reply = self._reply()
        reply.header.rcode = code
        return bytes(reply.pack())

    def _pointer(self, name: str) -> bytes:
        reply = self._reply()
        data = dnslib.PTR(name)
        reply.add_answer(dnslib.RR(self._record.q.qname, dnslib.QTYPE.PTR, rdata=data, ttl=TTL))
        return bytes(reply.pack())

    def _addresses(self, addresses: zone.Addresses) -> list[bytes]:
        wanted = {dnslib.QTYPE.A: (4,), dnslib.QTYPE.AAAA: (6,), dnslib.QTYPE.ANY: (4, 6)}.get(
            self._record.q.qtype, ()
        )
        rows = []
        for address in addresses:
            if address.version not in wanted:
                continue
            kind, data = (
                (dnslib.QTYPE.A, dnslib.A(str(address)))
                if address.version == 4
                else (dnslib.QTYPE.AAAA, dnslib.AAAA(str(address)))
            )
            rows.append(dnslib.RR(self._record.q.qname, kind, rdata=data, ttl=TTL))
        found = []
        for turn in range(min(max(len(rows), 1), _MAX_ROTATIONS)):
            reply = self._reply()
            for row in rows[turn:] + rows[:turn]:
                reply.add_answer(row)
            found.append(bytes(reply.pack()))
        return found


def _reversed(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address whose name is asked for by a name below in-addr.arpa or ip6.arpa."""
    name = name.lower()
    try:
        if name.endswith(".in-addr.arpa"):
            parts = name.removesuffix(".in-addr.arpa").split(".")
            return ipaddress.IPv4Address(".".join(reversed(parts)))
        if name.endswith(".ip6.arpa"):
            digits = "".join(reversed(name.removesuffix(".ip6.arpa").split(".")))
            if len(digits) == 32:
                return ipaddress.IPv6Address(bytes.fromhex(digits))
    except ValueError:
        pass
    return None


def truncated(message: bytes) -> bytes:
    """A UDP answer that is too long, as its question with the bit that says: ask by TCP."""
    (flags,) = struct.unpack_from("!H", message, 2)
    try:
        record = dnslib.DNSRecord.parse(message)
    except dnslib.DNSError:
        return message[:2] + struct.pack("!HHHHH", flags | 0x0200, 0, 0, 0, 0)
    record.rr, record.auth = [], []
    record.header.tc = 1
    return bytes(record.pack())


def same_question(query: bytes, answer: bytes) -> bool:
    """Whether an answer of another server belongs to a query; its id is compared elsewhere."""
    if len(answer) < 12 or not answer[2] & 0x80 or answer[4:6] != query[4:6]:
        return len(answer) >= 12 and bool(answer[2] & 0x80) and answer[4:6] == b"\0\0"
    length = 12
    while length < len(query) and query[length]:
        length += query[length] + 1
    length += 5
    return answer[12:length].lower() == query[12:length].lower()
