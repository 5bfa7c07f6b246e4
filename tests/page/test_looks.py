"""How the page looks, and what it is to those who do not see it: a busy site, in all sizes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from biomaj_download.serving import embedded_in
from biomaj_download.settings import Settings
from tests.page.conftest import web_alone
from tests.page.scene import tell_scene

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
LARGEST_PICTURE_BYTES = 200_000


@pytest.fixture
def shown(page, tmp_path) -> Iterator[Page]:
    """The page of a busy site."""
    (tmp_path / "data").mkdir()
    with web_alone(embedded_in(tmp_path / "data", Settings())) as url:
        sessions = tell_scene(tmp_path / "data")
        page.emulate_media(reduced_motion="reduce")
        page.goto(url)
        expect(page.locator("#sessions li")).to_have_count(len(sessions))
        expect(page.locator("#errors li")).to_have_count(2)
        yield page


def test_it_is_accessible_and_fits_in_every_size_and_colour(shown):
    check_in_all_sizes(shown)
    shown.get_by_role("button", name="Cancel uniprot").click()
    check_in_all_sizes(shown)
    shown.keyboard.press("Escape")

    shown.locator("#sessions li").filter(has_text="uniprot").get_by_role("link").click()
    expect(shown.locator("#files li")).to_have_count(2)

    check_in_all_sizes(shown)


def check_in_all_sizes(page: Page) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for size in (DESK, PHONE):
            page.set_viewport_size(size)

            assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()


def test_pictures_for_the_readme(shown, tmp_path):
    """`PICTURES=docs/images bin/test tests/page/test_looks.py` makes those of README anew."""
    folder = Path(os.environ.get("PICTURES") or tmp_path)
    pictures = [folder / f"page-{name}.png" for name in ("light", "dark", "phone")]
    shown.set_viewport_size({"width": 1280, "height": 1080})

    shown.screenshot(path=pictures[0])
    shown.emulate_media(color_scheme="dark", reduced_motion="reduce")
    shown.screenshot(path=pictures[1])
    shown.set_viewport_size(PHONE)
    shown.screenshot(path=pictures[2])

    assert all(10_000 < path.stat().st_size < LARGEST_PICTURE_BYTES for path in pictures)
