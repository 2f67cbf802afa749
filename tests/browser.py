"""A real Chromium for tests: pages that remember what their console complains of, and what every page must be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
PICTURES = Path(os.environ["ARTEFACTS"]) if os.environ.get("ARTEFACTS") else None
LOOKS = ((1280, "light"), (390, "dark"), (1280, "dark"), (390, "light"))
FADING = "[...document.querySelectorAll('.htmx-indicator')].some((e) => getComputedStyle(e).opacity !== '0')"


@contextmanager
def chromium() -> Iterator[Callable[..., Any]]:
    """``make(width, cookies, **context)``: a page in a browser of its own. Skips where there is no Chromium."""
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])

        def make(width: int = 1280, cookies: tuple[dict[str, str], ...] = (), **options: Any) -> Any:
            context = browser.new_context(viewport={"width": width, "height": 900}, **options)
            context.add_cookies(list(cookies))
            page = context.new_page()
            page.complaints = []
            page.on("console", lambda m: page.complaints.append(m.text) if m.type in {"error", "warning"} else None)
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            return page

        yield make
        browser.close()


def looks_right(page: Any, what: str) -> None:
    """Axe finds nothing, nothing scrolls sideways, the console is quiet; a picture is kept where ARTEFACTS says."""
    from axe_playwright_python.sync_playwright import Axe

    for _ in range(50):  # a word that fades away has too little contrast on its way
        if not page.evaluate(FADING):
            break
        page.wait_for_timeout(100)
    if PICTURES:
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(
            path=str(PICTURES / f"{what.replace(' ', '-').replace('/', '-')}.png"), full_page=True, caret="initial"
        )  # hiding it leaves style=""
    found = [(v["id"], v["nodes"][0]["html"][:200]) for v in Axe().run(page).response["violations"]]
    assert found == [], what
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{what} scrolls sideways by {wide} px"
    assert page.complaints == [], what


def looks_right_everywhere(page: Any, what: str) -> None:
    """``looks_right`` at both widths and in both colour schemes."""
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.wait_for_timeout(150)  # colours glide from one scheme to the other
        looks_right(page, f"{what} {width} {scheme}")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
