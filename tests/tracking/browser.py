"""A headless browser that tests drive: it opens a page, reads its text, clicks and takes pictures.

It speaks the DevTools protocol through a pipe: one JSON message after the other, each ended by a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-quic", "--disable-dev-shm-usage",
         "--hide-scrollbars", "--remote-debugging-pipe")  # fmt: skip


class Browser:
    """One page of a browser. `close` ends the process."""

    def __init__(self, program: Path, environment: dict[str, str], profile: Path, size: tuple[int, int]) -> None:
        read, self._requests = os.pipe()
        self._answers, write = os.pipe()

        def connect() -> None:  # the protocol's pipes are the descriptors 3 and 4
            for number, descriptor in ((13, read), (14, write)):  # out of each other's way first
                os.dup2(descriptor, number)
            for number in (3, 4):
                os.dup2(number + 10, number)

        flags = (*FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}")
        self._process = subprocess.Popen(
            [str(program), *flags], env={**os.environ, **environment}, preexec_fn=connect, close_fds=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read)
        os.close(write)
        self._count, self._rest, self._session = 0, b"", None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._requests)
        os.close(self._answers)

    def open(self, address: str) -> None:
        """Go to an address; what the page loads then, `wait_for` waits for."""
        self._call("Page.navigate", url=address)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self) -> str:
        """What the page shows."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait_for(self, *words: str, seconds: float = 20) -> str:
        """Wait until the page shows all these texts; returns its text. Fails with what it shows after `seconds`."""
        return self.wait(lambda text: all(word in text for word in words), f"the page to show {words}", seconds)

    def wait(self, shown: Callable[[str], bool], what: str, seconds: float = 20) -> str:
        """Wait until the page's text is as it should be; returns it."""
        end = time.monotonic() + seconds
        while not shown(text := self.text()):
            assert time.monotonic() < end, f"waited {seconds} s for {what}; it shows:\n{text}"
            time.sleep(0.1)
        return text

    def click(self, selector: str, text: str = "") -> None:
        """Click on the first visible element that matches and whose text begins with `text`."""
        script = f"""(() => {{
            const found = [...document.querySelectorAll({json.dumps(selector)})]
                .find(each => each.innerText.trim().startsWith({json.dumps(text)}) && each.getClientRects().length);
            if (found) found.click();
            return Boolean(found);
        }})()"""
        shown = self.evaluate(script)
        assert shown, f"nothing matches {selector} with the text {text!r}; the page shows:\n{self.text()}"

    def picture(self, path: Path) -> None:
        """Write what the page shows to a PNG file."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._receive())
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])

    def _receive(self) -> bytes:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], 30)
            assert ready, "the browser does not answer"
            received = os.read(self._answers, 1 << 16)
            assert received, "the browser has ended"
            self._rest += received
        message, _, self._rest = self._rest.partition(b"\0")
        return message
