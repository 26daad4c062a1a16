"""Headless Chromium over its DevTools pipe, with the standard library alone.

    with Chromium() as chromium, chromium.open(path) as page:
        page.evaluate("document.title")

The protocol: https://chromedevtools.github.io/devtools-protocol/, JSON messages that end
in NUL, commands written to the browser's descriptor 3, answers and events read from its 4.
"""

import base64
import fcntl
import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

SECONDS = 60.0  # for one command; software rendering on a busy machine is slow

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--remote-debugging-pipe",
)


# The browser decodes its own screenshot, so that the tests need no image library.
_COUNT_COLORS = """
(async () => {
  const image = new Image();
  image.src = "data:image/png;base64,PNG";
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  const bytes = context.getImageData(0, 0, image.width, image.height).data;
  const counts = {};
  for (let i = 0; i < bytes.length; i += 4) {
    const color = [0, 1, 2].map(c => bytes[i + c] & 0xf0).join();
    counts[color] = (counts[color] || 0) + 1;
  }
  return counts;
})()
"""


class Chromium:
    """One browser process with a profile of its own; close() ends it and removes the profile."""

    def __init__(self, executable: str = "chromium") -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command_end, self._commands = os.pipe()
        self._answers, answer_end = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (command_end, answer_end)]
        become_3_and_4 = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]} {ends[0]}<&- {ends[1]}>&-'
        browser = [executable, *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", become_3_and_4, "bash", *browser],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=ends,
        )
        for end in (command_end, answer_end, *ends):
            os.close(end)
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._commands)  # the browser ends when its pipe does
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)
        self._profile.cleanup()

    def open(self, path: Path, width: int = 1280, height: int = 800) -> "Page":
        """Load a local file in a new tab of that size; returns once it has loaded."""
        return Page(self, path, width, height)

    def call(self, method: str, session: str | None = None, **params: object) -> dict[str, Any]:
        """Send one command and return its result; events met on the way are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def receive(self, deadline: float) -> dict[str, Any]:
        """The next message; TimeoutError at the deadline."""
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise TimeoutError("the browser did not answer")
            chunk = os.read(self._answers, 1 << 20)
            if not chunk:
                raise ConnectionError("the browser ended")
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        decoded: dict[str, Any] = json.loads(message)
        return decoded


class Page:
    """One tab. `errors` and `requests` hold what it complained of and asked for so far."""

    def __init__(self, chromium: Chromium, path: Path, width: int, height: int) -> None:
        self._chromium = chromium
        target = chromium.call("Target.createTarget", url="about:blank")["targetId"]
        self._target = target
        attached = chromium.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call("Page.navigate", url=path.resolve().as_uri())
        deadline = time.monotonic() + SECONDS
        while not self._events("Page.loadEventFired"):
            chromium.events.append(chromium.receive(deadline))
        self.settle()

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._chromium.call("Target.closeTarget", targetId=self._target)
        self._chromium.events.clear()

    def call(self, method: str, **params: object) -> dict[str, Any]:
        return self._chromium.call(method, self._session, **params)

    def _events(self, method: str) -> list[dict[str, Any]]:
        return [
            event["params"]
            for event in self._chromium.events
            if event.get("sessionId") == self._session and event["method"] == method
        ]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression (a promise is awaited), as JSON has it."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        return result["result"].get("value")

    def settle(self) -> None:
        """Let two frames pass, so that what was asked for is drawn."""
        frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.evaluate(f"{frame}.then(() => null)")

    def press(self, label: str) -> None:
        """Click the button with that text, as a mouse would."""
        centre = self.evaluate(
            "(() => {"
            "  const buttons = [...document.querySelectorAll('button')];"
            f" const button = buttons.find(b => b.textContent === {json.dumps(label)});"
            "  button.scrollIntoView({block: 'center', behavior: 'instant'});"
            "  const box = button.getBoundingClientRect();"
            "  return [box.x + box.width / 2, box.y + box.height / 2];"
            "})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, *centre, button="left", clickCount=1)
        self.settle()

    def mouse(self, kind: str, x: float, y: float, **params: object) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **params)

    def screenshot(self, full: bool = False, **params: object) -> bytes:
        """PNG bytes of the window, or of the full height of the page."""
        answer = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=full, **params
        )
        return base64.b64decode(answer["data"])

    def colors(self, selector: str) -> dict[str, int]:
        """Pixels of each colour, "r,g,b" in steps of 16, that an element really shows on screen."""
        box = self.evaluate(
            f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            " const {x, y, width, height} = e.getBoundingClientRect();"
            " return {x: x + scrollX, y: y + scrollY, width, height, scale: 1}; })"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self.settle()
        data = base64.b64encode(self.screenshot(clip=box)).decode()
        counts: dict[str, int] = self.evaluate(_COUNT_COLORS.replace("PNG", data))
        return counts

    @property
    def errors(self) -> list[str]:
        """Uncaught exceptions, console errors and warnings, and errors in the browser's own log."""
        self.evaluate("null")  # collects what has arrived
        thrown = [e["exceptionDetails"] for e in self._events("Runtime.exceptionThrown")]
        called = [
            " ".join(str(a.get("value", a.get("description"))) for a in e["args"])
            for e in self._events("Runtime.consoleAPICalled")
            if e["type"] in ("error", "warning")
        ]
        logged = [e["entry"] for e in self._events("Log.entryAdded")]
        return [
            *(e.get("exception", {}).get("description", e["text"]) for e in thrown),
            *called,
            *(e["text"] for e in logged if e["level"] == "error"),
        ]

    @property
    def requests(self) -> list[str]:
        """Every address asked for, in order, the page itself first; data: and blob: are none."""
        self.evaluate("null")
        asked = (event["request"]["url"] for event in self._events("Network.requestWillBeSent"))
        return [url for url in asked if not url.startswith(("data:", "blob:"))]
