"""The system's Chromium, driven by Playwright: pages that keep their complaints and what they ask for.

    with Chromium() as chromium, chromium.open(path) as page:
        page.evaluate("document.title")

Playwright's own page is `page.tab`: its mouse, keyboard and touch screen make the events of a user.
A tab that a page has left empty shows the next one: a new one is two processes, and compiles plotly.js anew.
"""

import base64
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, FloatRect, sync_playwright
from playwright.sync_api import Page as Tab

# WebGL needs a GPU or SwiftShader. Everything else is drawn quicker without going through either.
ARGUMENTS = (
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--disable-gpu-compositing", "--disable-accelerated-2d-canvas"),
)
SECONDS = 60.0  # for one command; software rendering on a busy machine is slow

# The browser decodes its own screenshot, so that the tests need no image library.
_COUNT_COLORS = """
async png => {
  const image = new Image();
  image.src = "data:image/png;base64," + png;
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
}
"""
_TWO_FRAMES = """
() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(null))))
"""


class Chromium:
    """One browser process with a profile of its own; close() ends it and removes the profile."""

    def __init__(self, executable: str = "chromium") -> None:
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=shutil.which(executable) or executable,
            args=ARGUMENTS,
        )
        self._idle: dict[bool, list[Tab]] = {False: [], True: []}  # by whether it is a phone

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._browser.close()
        self._playwright.stop()

    def open(self, path: Path, width: int = 1280, height: int = 800) -> "Page":
        """Load a local file in a tab of that size, a narrow one on a phone; it has loaded."""
        phone = width < 600
        if self._idle[phone]:
            tab = self._idle[phone].pop()
            tab.set_viewport_size({"width": width, "height": height})
        else:
            context = self._browser.new_context(
                viewport={"width": width, "height": height}, is_mobile=phone, has_touch=phone
            )
            context.set_default_timeout(1000 * SECONDS)
            tab = context.new_page()
        return Page(tab, path, self._idle[phone])


class Page:
    """One tab. `errors` and `requests` hold what it complained of and asked for so far."""

    def __init__(self, tab: Tab, path: Path, idle: list[Tab]) -> None:
        self.tab = tab
        self._idle = idle  # where the tab goes in the end
        self._errors: list[str] = []
        self._requests: list[str] = []
        self._listeners: dict[Any, Callable[[Any], None]] = {
            "pageerror": lambda error: self._errors.append(error.stack or error.message),
            "console": self._hear,
            "request": lambda request: self._requests.append(request.url),
        }
        for event, listener in self._listeners.items():
            tab.on(event, listener)
        tab.goto(path.resolve().as_uri())
        self.settle()

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *error: object) -> None:
        if any(error) or len(self.tab.context.pages) > 1:
            self.tab.context.close()
            return
        for event, listener in self._listeners.items():
            self.tab.remove_listener(event, listener)
        self.tab.goto("about:blank")
        self.tab.mouse.move(0, 0)
        self._idle.append(self.tab)

    def _hear(self, said: ConsoleMessage) -> None:
        """The page's errors and warnings, and the browser's errors; of its warnings none."""
        if said.type == "error" or (said.type == "warning" and said.args):
            self._errors.append(said.text)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        return self.tab.evaluate(expression)

    def settle(self) -> None:
        """Let two frames pass, so that what was asked for is drawn."""
        self.tab.evaluate(_TWO_FRAMES)

    def press(self, label: str) -> None:
        """Click the button with that text."""
        labelled = re.compile(f"^{re.escape(label)}$")
        self.tab.locator("button").filter(has_text=labelled).first.click()
        self.settle()

    def screenshot(self, clip: FloatRect | None = None) -> bytes:
        """PNG bytes of the window, or of a part of the page."""
        return self.tab.screenshot(clip=clip, full_page=clip is not None)

    def colors(self, selector: str) -> dict[str, int]:
        """Pixels of each colour, "r,g,b" in steps of 16, that an element really shows on screen."""
        png = base64.b64encode(self.tab.locator(selector).first.screenshot()).decode()
        counts: dict[str, int] = self.tab.evaluate(_COUNT_COLORS, png)
        return counts

    @property
    def errors(self) -> list[str]:
        """Uncaught exceptions, console errors and warnings, and errors in the browser's own log."""
        self.tab.evaluate("null")  # collects what has arrived
        return [*self._errors]

    @property
    def requests(self) -> list[str]:
        """Every address asked for, in order, the page itself first; data: and blob: are none."""
        self.tab.evaluate("null")
        return [url for url in self._requests if not url.startswith(("data:", "blob:"))]
