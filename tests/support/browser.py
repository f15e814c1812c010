"""A real browser, Debian's Chromium, driven by Playwright; and axe-core, which judges what it shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources, util
from typing import TYPE_CHECKING, Any

from support import peers
from support.servers import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser."""
    peers.require("playwright", util.find_spec("playwright") is not None, "playwright, of the extra test")
    path = shutil.which("chromium")
    peers.require("chromium", path is not None, "chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def window(browser: Browser, *, width: int = 1440, scheme: str = "light", script: bool = True) -> Iterator[Page]:
    """Open a window; what the browser complains of, as a breach of the page's policy, fails at its end."""
    options: dict[str, Any] = {
        "ignore_https_errors": True,  # the authority is the test's own
        "viewport": {"width": width, "height": 900 if width > 500 else 780},
        "color_scheme": scheme,
        "java_script_enabled": script,
    }
    context = browser.new_context(**options)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    try:
        yield page
        assert complaints == [], complaints  # what is in support is not rewritten by pytest
    finally:
        context.close()


def sign_in(page: Page, server: Running) -> None:
    page.goto(f"{server.url}/page/")
    page.fill("#token", server.token)
    page.click("button:has-text('Sign in')")
    page.wait_for_url("**/page/products/blink")


def violations(page: Page) -> list[str]:
    """Return what axe-core has against a page, each with where; it is run by the browser, past the page's policy."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    options = {"runOnly": RULES, "resultTypes": ["violations"], "preload": False}
    found = page.evaluate("options => axe.run(document, options)", options)
    assert found["passes"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]
