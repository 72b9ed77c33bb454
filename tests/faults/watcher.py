"""Write down what comes in on a network card: `python -m tests.faults.watcher CARD FILE`.

A JSON line for each packet. Left out is what kernels say to each other by themselves, where nobody
asked: who has which address, who listens to which group.
"""

import ipaddress
import json
import socket
import struct
import sys
from pathlib import Path
from typing import Any

_ALL = 0x0003  # ETH_P_ALL
_IPV4, _ARP, _IPV6 = 0x0800, 0x0806, 0x86DD
_OURS = 4  # PACKET_OUTGOING: what this end sends
_TCP, _UDP, _ICMPV6 = 6, 17, 58
_AMONG_KERNELS = {130, 131, 132, 133, 134, 135, 136, 137, 143}  # neighbours, routers, listeners


def described(frame: bytes) -> dict[str, Any] | None:
    """Return what an Ethernet frame is; None where kernels speak by themselves."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    packet = frame[14:]
    if kind == _ARP:
        return None
    if kind == _IPV4:
        protocol, payload = packet[9], packet[(packet[0] & 15) * 4 :]
        to = ipaddress.ip_address(packet[16:20])
    elif kind == _IPV6:
        protocol, payload = _unwrapped(packet[6], packet[40:])
        to = ipaddress.ip_address(packet[24:40])
        if protocol == _ICMPV6 and payload[0] in _AMONG_KERNELS:
            return None
    else:
        return {"protocol": f"ethernet {kind:#06x}", "to": frame[:6].hex(":")}
    said: dict[str, Any] = {"protocol": protocol, "to": str(to)}
    if protocol in {_TCP, _UDP}:
        (said["port"],) = struct.unpack_from("!H", payload, 2)
    if protocol == _UDP and said["port"] in {53, 5353}:
        said["name"] = _question(payload[8:])
    return said


def _unwrapped(following: int, payload: bytes) -> tuple[int, bytes]:
    """Return the protocol and payload behind a header of options hop by hop."""
    return (payload[0], payload[(payload[1] + 1) * 8 :]) if following == 0 else (following, payload)


def _question(message: bytes) -> str:
    """Return the first name that a DNS message asks for."""
    labels, at = [], 12
    while at < len(message) and (length := message[at]) and length < 64:
        labels.append(message[at + 1 : at + 1 + length].decode("ascii", "replace"))
        at += 1 + length
    return ".".join(labels)


def main(card: str, record: str) -> None:
    """Write what comes in, until killed; the file is there once nothing can be missed."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as wire:
        wire.bind((card, _ALL))
        with Path(record).open("a", buffering=1) as file:
            while True:
                frame, (_, _, whose, *_) = wire.recvfrom(65_535)
                if whose != _OURS and (said := described(frame)):
                    file.write(f"{json.dumps(said)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
