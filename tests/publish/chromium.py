"""A real headless Chromium, driven by the DevTools protocol over a pipe: no server, no package."""

import base64
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-sandbox",  # a container's root has no other way; the page is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--hide-scrollbars",
)
SECONDS = 60.0


def find_chromium() -> str:
    """Its path; skips where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no Chromium is installed (Debian: apt install chromium)")


class Chromium:
    """One page in one browser. It notes what the console said and what the network was asked."""

    def __init__(self) -> None:
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        theirs_in, self.into = os.pipe()
        self.out, theirs_out = os.pipe()
        arguments = [find_chromium(), *FLAGS, f"--user-data-dir={self.profile}", "about:blank"]
        quiet = os.open(os.devnull, os.O_RDWR)
        high = [os.dup2(fd, 100 + i) for i, fd in enumerate((theirs_in, theirs_out))]
        moves = [(os.POSIX_SPAWN_DUP2, fd, 3 + i) for i, fd in enumerate(high)]
        moves += [(os.POSIX_SPAWN_DUP2, quiet, fd) for fd in (0, 1, 2)]
        self.pid = os.posix_spawn(
            arguments[0], arguments, os.environ, file_actions=moves, setsid=True
        )
        for fd in (theirs_in, theirs_out, quiet, *high):
            os.close(fd)
        self.numbers = itertools.count(1)
        self.rest = b""
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None

    def __enter__(self) -> Self:
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _attach(self) -> None:
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __exit__(self, *_: object) -> None:
        for fd in (self.into, self.out):
            os.close(fd)
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser; events that arrive meanwhile are kept."""
        number = next(self.numbers)
        asked: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session:
            asked["sessionId"] = self.session
        data = json.dumps(asked).encode() + b"\0"
        while data:
            data = data[os.write(self.into, data) :]
        until = time.monotonic() + SECONDS
        while True:
            told = self._read(until)
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                return dict(told["result"])
            self.events.append(told)

    def _read(self, until: float) -> dict[str, Any]:
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.out], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            more = os.read(self.out, 1 << 20)
            assert more, "the browser is gone"
            self.rest += more
        first, _, self.rest = self.rest.partition(b"\0")
        return dict(json.loads(first))

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file and wait until it stands."""
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        told = self.call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = 20.0) -> None:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(f"!!({script})"):
            assert time.monotonic() < until, f"never true: {script}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Scroll to an element and click in its middle, as a mouse does."""
        name = json.dumps(selector)
        self.run(
            f"document.querySelector({name}).scrollIntoView({{block:'center',behavior:'instant'}})"
        )
        x, y = self.run(
            f"(() => {{const b = document.querySelector({name}).getBoundingClientRect();"
            "return [b.x + Math.min(b.width / 2, 60), b.y + Math.min(b.height / 2, 12)]})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Into whatever has the focus."""
        self.call("Input.insertText", text=text)

    def key(self, name: str, code: int, text: str = "") -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name,
                      windowsVirtualKeyCode=code, **more)  # fmt: skip

    def choose(self, selector: str, value: str) -> None:
        """An option of a select."""
        name, value = json.dumps(selector), json.dumps(value)
        self.run(
            f"(() => {{const s = document.querySelector({name}); s.value = {value};"
            "s.dispatchEvent(new Event('change', {bubbles: true}))})()"
        )

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Of the window."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)  # fmt: skip

    def theme(self, name: str) -> None:
        """What the system prefers: light or dark."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """What it looks like, as PNG."""
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))

    def complaints(self) -> list[str]:
        """What the console and the log said, errors and warnings alike, and every exception."""
        self.run("1")
        return [
            json.dumps(event["params"])[:600]
            for event in self.events
            if event.get("method")
            in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        ]

    def requests(self) -> list[str]:
        """Every address that was asked for, but the page itself and data of its own."""
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls[1:] if not url.startswith("data:")]


Driver = Callable[..., Any]
