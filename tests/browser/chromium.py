"""A Chromium without a window, driven through its driver; nothing of it reaches a network.

Not for: what the page is to show; the tests say that.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

T = TypeVar("T")

# Keys, as the driver takes them.
TAB, ENTER, END, ARROW_DOWN, SPACE = "\ue004", "\ue007", "\ue010", "\ue015", " "
WIDE, NARROW = (1280, 800), (360, 780)
# A browser needs a while for what a node does at once, most of all on a busy machine.
SECONDS = 30.0
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--disable-extensions", "--lang=en-US"),
    # whoever asks for another host than this machine gets no answer
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.*",
    "--disable-features=MediaRouter,OptimizationHints,Translate",
)


def _program(*names: str) -> str | None:
    return next((found for name in names if (found := shutil.which(name))), None)


def missing() -> str:
    """Why there is no browser to test with, in a sentence; "" if there is one."""
    if importlib.util.find_spec("selenium") is None:
        return "selenium is not installed: pip install --editable '.[dev]'"
    if _program("chromium", "chromium-browser", "google-chrome") is None:
        return "there is no Chromium here: apt-get install chromium chromium-driver"
    if _program("chromedriver") is None:
        return "there is no chromedriver here: apt-get install chromium-driver"
    return ""


def axe_source() -> str | None:
    """The script of axe, which looks for what keeps people out; None if it is not installed."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        return None
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


class Browser:
    """One browser with one page."""

    def __init__(self, folder: Path, relay: str) -> None:
        """`folder` takes its profile; it is made.  All goes through the relay, "127.0.0.1:1080"."""
        from selenium.webdriver import Chrome, ChromeOptions, ChromeService

        folder.mkdir(parents=True)
        options = ChromeOptions()
        options.binary_location = _program("chromium", "chromium-browser", "google-chrome") or ""
        for option in (*_OPTIONS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(option)
        options.add_argument(f"--proxy-server=socks5://{relay}")
        options.add_argument("--proxy-bypass-list=<-loopback>")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = ChromeService(_program("chromedriver"), env={**os.environ, "HOME": str(folder)})
        self.driver: WebDriver = Chrome(options=options, service=service)
        self.driver.set_script_timeout(SECONDS)
        self.set_size(*WIDE)

    def quit(self) -> None:
        """End it."""
        self.driver.quit()

    def set_size(self, width: int, height: int, scale: float = 1) -> None:
        """The size of what is seen, in CSS pixels, each `scale` pixels of a screenshot wide."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def set_scheme(self, scheme: str) -> None:
        """What the system says of light and dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    # -- looking

    def run(self, script: str, *arguments: object) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def count(self, selector: str) -> int:
        """How many elements there are."""
        found: int = self.run("return document.querySelectorAll(arguments[0]).length", selector)
        return found

    def text(self, selector: str) -> str:
        """The text that is seen of all such elements, a line each."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter(one => one.checkVisibility()).map(one => one.innerText).join('\\n')"
        )
        found: str = self.run(script, selector)
        return found

    def problems(self) -> list[str]:
        """What the page complained about to the browser's console since this was last asked."""
        return [
            json.dumps(entry["message"])
            for entry in self.driver.get_log("browser")
            if entry["level"] in {"SEVERE", "WARNING"}
        ]

    def wait_for(self, condition: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
        """Wait until it is so, and return what it is."""
        shown = "return document.body.innerText"
        return wait_until(condition, lambda: f"{what}; the page:\n{self.run(shown)}", seconds)

    def wait_for_text(self, selector: str, part: str, seconds: float = SECONDS) -> str:
        """Wait until such an element shows this."""

        def shown() -> str:
            text = self.text(selector)
            return text if part in text else ""

        return self.wait_for(shown, f"{part!r} in {selector}", seconds)

    # -- doing

    def click(self, selector: str) -> None:
        """Click, as a mouse does: on what is seen there, and nothing lies above."""
        from selenium.webdriver.common.by import By

        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def type(self, selector: str, text: str) -> None:
        """Type this in the place of what is there; for a file it is its path."""
        from selenium.webdriver.common.by import By

        element = self.driver.find_element(By.CSS_SELECTOR, selector)
        if element.get_attribute("type") != "file":
            element.clear()
        element.send_keys(text)

    def keys(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def drop(self, name: str, text: str) -> None:
        """Drop a file with this text on the page."""
        self.run(
            """
            const transfer = new DataTransfer();
            transfer.items.add(new File([arguments[1]], arguments[0]));
            for (const type of ["dragenter", "dragover", "drop"]) {
              const options = {dataTransfer: transfer, bubbles: true, cancelable: true};
              document.body.dispatchEvent(new DragEvent(type, options));
            }
            """,
            name,
            text,
        )

    def screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG file."""
        path.write_bytes(self.driver.get_screenshot_as_png())

    def screenshot_of(self, selector: str, path: Path) -> None:
        """Write what is seen of one element as a PNG file."""
        from selenium.webdriver.common.by import By

        path.write_bytes(self.driver.find_element(By.CSS_SELECTOR, selector).screenshot_as_png)
