"""Templates and static files keep the rules of the house: nothing inline, every icon there, colours readable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.template.loader import get_template

from web_kit.states import STATES, TONE_ICONS

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "evaluation_app/report_file.html"
}  # handed out as downloads, which no page's policy governs: they bring their styles
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
ICONS = set(re.findall(r'<symbol id="([^"]+)"', (ROOT / "static/img/icons.svg").read_text()))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: str(p.relative_to(ROOT / "templates")))
def test_a_template_needs_nothing_that_the_content_security_policy_refuses(path):
    text = path.read_text()
    assert not re.search(r"\sstyle\s*=", text), "style attribute"
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text), "inline event handler"
    assert str(path.relative_to(ROOT / "templates")) in FILES or not re.search(r"<style\b", text)
    assert "javascript:" not in text
    assert not re.search(r"hx-on[:-]|hx-vals\s*=\s*[\"']js:", text), "htmx would have to evaluate code"
    for tag in re.findall(r"<script\b[^>]*>", text):
        assert " src=" in tag or "application/json" in tag, tag
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text), "nothing is fetched from other houses"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: str(p.relative_to(ROOT / "templates")))
def test_every_icon_named_in_a_template_is_in_the_sprite(path):
    text = path.read_text()
    names = set(re.findall(r'{%\s*icon\s+"([^"]+)"', text)) | set(re.findall(r'\bicon="([^"]+)"', text))
    assert names <= ICONS


def test_every_state_has_an_icon_in_the_sprite():
    assert {look.icon for look in STATES.values()} | set(TONE_ICONS.values()) <= ICONS


@pytest.mark.parametrize("name", ["400.html", "403.html", "404.html", "500.html"])
def test_error_pages_need_nothing_from_the_request(name):
    assert "Go to the start page" in get_template(name).render()


def test_htmx_evaluates_nothing_and_speaks_only_to_us():
    text = (ROOT / "templates/base.html").read_text()
    for rule in (
        '"allowEval":false',
        '"allowScriptTags":false',
        '"selfRequestsOnly":true',
        '"includeIndicatorStyles":false',
        '"historyCacheSize":0',
    ):
        assert rule in text


def test_vendored_files_name_no_source_maps_and_keep_their_licences():
    for path in (ROOT / "static/vendor").rglob("*.*"):
        assert "sourceMappingURL" not in path.read_text()
    licences = (ROOT / "static/vendor/LICENSES.txt").read_text()
    assert "uPlot 1.6.32" in licences
    assert "ISC License" in licences


def test_scripts_never_turn_text_into_markup():
    for path in (ROOT / "static/js").glob("*.js"):
        text = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in text, f"{path.name}: {word}"


def _themes() -> dict[str, dict[str, str]]:
    css = (ROOT / "static/css/tokens.css").read_text()
    light, system_dark, chosen_dark = (
        dict(re.findall(r"--([a-z0-9-]+):\s*(#[0-9a-f]{6})", css.split(start)[1].split("}")[0]))
        for start in (":root {", ':root:not([data-theme="light"]) {', ':root[data-theme="dark"] {')
    )
    assert system_dark == chosen_dark, "the two dark blocks must say the same"
    return {"light": light, "dark": light | chosen_dark}


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _contrast(a: str, b: str) -> float:
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _mixed(a: str, b: str, share: float) -> str:
    return "#" + "".join(
        f"{round(int(a[i : i + 2], 16) * share + int(b[i : i + 2], 16) * (1 - share)):02x}" for i in (1, 3, 5)
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_at_least_four_and_a_half_to_one(theme):
    tokens = _themes()[theme]
    pairs = [(ink, ground) for ink in ("ink", "ink-2", "ink-3", "accent") for ground in ("bg", "surface", "surface-2")]
    pairs += [(tone, f"{tone}-soft") for tone in ("ok", "warn", "bad", "info", "idle", "accent")]
    pairs += [(tone, "surface") for tone in ("ok", "warn", "bad", "info", "idle")]
    pairs += [("ink", f"{tone}-soft") for tone in ("ok", "warn", "bad", "info", "accent")]
    pairs += [
        ("ink-2", "accent-soft"),
        ("on-accent", "accent"),
        ("on-accent", "accent-strong"),
        ("on-bad", "bad"),
        ("accent-strong", "accent-soft"),
        ("warn", "surface-2"),
        ("bad", "surface-2"),
    ]
    weak = {
        (a, b): round(_contrast(tokens[a], tokens[b]), 2) for a, b in pairs if _contrast(tokens[a], tokens[b]) < 4.5
    }
    assert weak == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_borders_of_controls_focus_and_lines_of_charts_have_three_to_one(theme):
    tokens = _themes()[theme]
    grounds = ("bg", "surface")
    pairs = [
        (name, ground) for name in ("line-strong", "focus", "series-1", "series-2", "series-base") for ground in grounds
    ]
    weak = {(a, b): round(_contrast(tokens[a], tokens[b]), 2) for a, b in pairs if _contrast(tokens[a], tokens[b]) < 3}
    assert weak == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_numbers_on_every_shade_of_the_matrix_can_be_read(theme):
    tokens = _themes()[theme]
    css = (ROOT / "static/css/parts.css").read_text()
    rules = re.findall(
        r"\.heat-(\d) \{\s*background: color-mix\(in srgb, var\(--heat\) (\d+)%.*?\);\s*color: var\(--(heat-ink-\w+)\)",
        css,
    )
    assert len(rules) == 8
    for number, share, ink in rules:
        ground = _mixed(tokens["heat"], tokens["surface"], int(share) / 100)
        assert _contrast(tokens[ink], ground) >= 4.5, (number, theme)
    assert _contrast(tokens["heat-ink-high"], tokens["heat"]) >= 4.5
