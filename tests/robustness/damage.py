"""Generators that know nothing of what they damage: bytes of a file, what stands at its place, values of a document."""

from __future__ import annotations

import os
import random
import socket
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

PickledCanary = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch canary\x85R."  # leaves a file where it is run


# -- the bytes of a file -----------------------------------------------------------------------------------------------


def truncated(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))] if rng.random() < 0.8 else data[: rng.randrange(min(64, len(data)))]


def flipped(rng: random.Random, data: bytes) -> bytes:
    """One to eight bits, anywhere."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def overwritten(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    length = min(rng.choice((1, 4, 8, 64, 512, 4096)), len(data) - start)
    filling = rng.choice((b"\0" * length, b"\xff" * length, rng.randbytes(length)))
    return data[:start] + filling + data[start + length :]


def inserted(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.randbytes(rng.choice((1, 8, 512))) + data[start:]


def cut_out(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice((1, 8, 512)) :]


def swapped(rng: random.Random, data: bytes) -> bytes:
    """Two blocks in each other's place."""
    size = rng.choice((16, 128, 512))
    first, second = sorted(rng.randrange(max(1, len(data) - size)) for _ in range(2))
    if second - first < size:
        return overwritten(rng, data)
    middle = data[first + size : second]
    return data[:first] + data[second : second + size] + middle + data[first : first + size] + data[second + size :]


def foreign(rng: random.Random, data: bytes) -> bytes:
    """Another kind of file under the same name."""
    kinds = (b"", b"\0" * 4096, b"PK\x03\x04" + data[:100], b"\x89HDF\r\n\x1a\n" + rng.randbytes(200), PickledCanary,
             b"\x93NUMPY\x01\x00\x76\x00", b"%PDF-1.7\n", "Größe: \x1b[2J\n".encode("latin-1"), rng.randbytes(5000),
             data + data, b"#!/bin/sh\ntouch canary\n")  # fmt: skip
    return rng.choice(kinds)


BYTES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "truncation": truncated, "bit flips": flipped, "overwritten": overwritten, "inserted": inserted,
    "cut out": cut_out, "swapped": swapped, "foreign": foreign,
}  # fmt: skip


# -- what stands at a file's place -------------------------------------------------------------------------------------


def misplaced(rng: random.Random, path: Path) -> bool:
    """Put a link, a pipe, a folder, a device or nothing in the place of a file; whether permissions are at stake."""
    aside = path.with_name(f"{path.name}.aside")
    kind = rng.choice(("itself", "dangling", "to it", "to a folder", "to a device", "chain", "pipe", "folder", "socket",
                       "gone", "unreadable", "unreadable", "closed folder", "hidden folder"))  # fmt: skip
    if kind in ("unreadable", "closed folder", "hidden folder"):
        place, mode = (path, 0o000) if kind == "unreadable" else (path.parent, 0o600 if kind[0] == "c" else 0o300)
        place.chmod(mode)
        return True
    path.rename(aside)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        _socket(path)
    elif kind == "chain":
        for number in range(50):  # more links than a kernel follows
            path.with_name(f"link{number}").symlink_to(f"link{number + 1}")
        path.symlink_to("link0")
    elif kind != "gone":
        targets = {"itself": path.name, "dangling": "nowhere", "to it": aside.name, "to a folder": ".",
                   "to a device": rng.choice(("/dev/zero", "/dev/null", "/dev/full", "/dev/tty"))}  # fmt: skip
        path.symlink_to(targets[kind])
    return False


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's address is short
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


# -- values of a document ----------------------------------------------------------------------------------------------


def text(rng: random.Random) -> str:
    """Words of all kinds that JSON and YAML can hold, those of terminals and of file systems among them."""
    alphabet = rng.choice(
        (string.ascii_letters, string.printable, "\x1b[31m\n\r\t\0\x07\x7f\u2028\u202e", "äß€𝄞\u0301")
    )
    made = "".join(rng.choice(alphabet) for _ in range(rng.choice((0, 1, 5, 40))))
    kinds = (made, made, "../../x", "/etc/passwd", "~nosuchuser/x", "x" * 5000, "nan", "1e999", "null", "{a", "%s",
             "$HOME", "-1", "0x10", "True", "a\nb", "a\x1b[2Jb", "!!python/name:os.system", "ſ")  # fmt: skip
    return rng.choice(kinds)


def number(rng: random.Random) -> int | float:
    """Numbers at and beyond the ends of what is sensible."""
    kinds = (0, -1, 1, 2, 7, 0.5, -0.0, 1e-300, 1e30, -1e30, 1e300, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63) - 1,
             10**9, 10**12, 10**40, 10**400, 3.4e38, 1.0, 65536, rng.randrange(1000), rng.uniform(-10, 10))  # fmt: skip
    return rng.choice(kinds)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Any plain value: text, numbers, None, bools, lists and mappings, some deep, some long."""
    kind = rng.randrange(9 if depth < 3 else 6)
    if kind < 3:
        return rng.choice((None, True, False, 0, "", [], {}))
    if kind < 5:
        return number(rng)
    if kind == 5:
        return text(rng)
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.choice((0, 1, 3, 20)))]
    if kind == 7:
        return {text(rng): value(rng, depth + 1) for _ in range(rng.choice((0, 1, 3)))}
    deep: Any = rng.choice((1, "x", []))
    for _ in range(rng.choice((2, 50, 150))):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    return deep


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value in a document of mappings and lists."""
    found = [path] if path else []
    if isinstance(document, dict | list):
        for key, entry in document.items() if isinstance(document, dict) else enumerate(document):
            found += places(entry, (*path, key))
    return found


def edited(rng: random.Random, document: Any, replacement: Callable[[random.Random], Any] = value) -> Any:
    """Change, remove, add, double or scale one to three values somewhere in a document, in place."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        ways = places(document)
        if not ways:
            break
        *way, last = rng.choice(ways)
        holder = document
        for key in way:
            holder = holder[key]
        old = holder[last]
        action = rng.randrange(6)
        if action < 2:
            holder[last] = replacement(rng)
        elif action == 2:
            del holder[last]
        elif action == 3 and isinstance(holder, dict):
            holder[text(rng)] = replacement(rng)
        elif action == 4 and isinstance(old, int | float) and abs(old) < 1e100:
            holder[last] = rng.choice((-old, old + 1, old - 1, old * 2, float(old), str(old), [old], 1e9 * old))
        elif isinstance(old, list):
            holder[last] = rng.choice((old * 2, old[:-1], old[::-1], {str(k): v for k, v in enumerate(old)}))
        else:
            holder[last] = rng.choice(([old], {"a": old}, str(old)))
    return document
