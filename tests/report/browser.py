"""Drives headless Chromium through its DevTools protocol over a pair of pipes; the standard library is enough."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --disable-default-apps --hide-scrollbars "
    "--disable-dev-shm-usage --remote-debugging-pipe"
)
SECONDS = 30
KEY_CODES = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def find_browser() -> str | None:
    """Returns the path of a Chromium on this machine, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One Chromium with one page.

    Attributes:
        problems: Console errors, uncaught exceptions and refused resources, as text.
        requests: Every address that the page asked for.
        dialogs: Messages of alert boxes, which only a script that was smuggled in would open.
    """

    def __init__(self, commands: int, events: int) -> None:
        self._commands, self._events = commands, events
        self._buffer = b""
        self._next_id = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self._loaded = False

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self._next_id += 1
        message: dict[str, Any] = {"id": self._next_id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        wanted = self._next_id
        while True:
            received = self._receive()
            if received.get("id") == wanted:
                assert "error" not in received, received["error"]
                return received["result"]

    def _receive(self) -> dict[str, Any]:
        limit = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._events], [], [], max(0, limit - time.monotonic()))
            assert ready, f"Chromium did not answer within {SECONDS} seconds"
            data = os.read(self._events, 1 << 20)
            assert data, "Chromium ended"
            self._buffer += data
        text, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.problems.append(str([one.get("value") for one in told["args"]]))
        elif event == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(told["exceptionDetails"]))
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.problems.append(told["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event == "Page.javascriptDialogOpening":
            self.dialogs.append(told["message"])
        elif event == "Page.loadEventFired":
            self._loaded = True

    def attach(self) -> None:
        """Opens the page and listens to all that happens in it."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def open(self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Opens a file at a width, in the light or dark scheme, and waits until it has loaded."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)
        self.problems.clear()
        self.requests.clear()
        self._loaded = False
        self.send("Page.navigate", url=path.resolve().as_uri())
        while not self._loaded:
            self._receive()

    def run(self, script: str) -> Any:
        """Returns the value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Presses and releases a key."""
        code = KEY_CODES[key]
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def assert_quiet(self) -> None:
        """No console message, no alert, no request but for the page and the pictures inside it."""
        assert self.problems == []
        assert self.dialogs == []
        outside = [address[:80] for address in self.requests if not address.startswith(("file:", "data:image/"))]
        assert outside == []
        assert sum(address.startswith("file:") for address in self.requests) == 1

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Writes a PNG of the page, all of it or what the window shows."""
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(data["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}


@contextmanager
def start_browser(executable: str) -> Iterator[Browser]:
    """Starts Chromium and ends it; its profile lives in a temporary folder."""
    commands_out, commands_in = os.pipe()
    events_out, events_in = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Chromium reads commands from descriptor 3 and writes events to descriptor 4.
        line = f'exec "$0" {FLAGS} --user-data-dir="$1" 3<&{commands_out} 4>&{events_in}'
        process = subprocess.Popen(
            ["bash", "-c", line, executable, profile],
            pass_fds=(commands_out, events_in),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_out)
        os.close(events_in)
        try:
            browser = Browser(commands_in, events_out)
            browser.attach()
            yield browser
        finally:
            process.terminate()
            process.wait(SECONDS)
            os.close(commands_in)
            os.close(events_out)
