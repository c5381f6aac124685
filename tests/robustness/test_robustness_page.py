"""The HTML page in headless Chromium: no request, no console error, readable on a phone and a desktop."""

import shutil

import jax
import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness
from noisejax.robustness import Family


def page(path):
    x = np.random.default_rng(0).random((30, 8, 8, 3)).astype(np.float32)
    y = (x.mean((1, 2, 3)) > 0.5).astype(int)
    families = [
        Family("<gaussian>", lambda std: nj.bind(nj.gaussian, std=std), (0.0, 0.1, 0.2)),
        Family("mask", lambda rate: nj.bind(nj.mask, rate=rate), (0.0, 0.5)),
    ]
    report = robustness.sweep(jax.random.key(0), lambda x: x.mean((1, 2, 3)) > 0.5, (x, y), families)
    return report.to_html(path, title="a < b & c")


def test_the_page_is_small_and_whole(tmp_path):
    text = page(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == text and len(text) < 2_000_000
    assert "a &lt; b &amp; c" in text and "<gaussian>" not in text and "data:image/png;base64," in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(width, scheme, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright and a Chromium")
    if browser is None:
        pytest.skip("needs a Chromium on this machine")
    page(tmp_path / "page.html")
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = opened.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        errors, requests = [], []
        tab.on("console", lambda message: errors.append(message.text))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto((tmp_path / "page.html").as_uri())
        tab.locator(".hit").nth(1).hover()
        assert "<gaussian> 0.1\naccuracy" in tab.locator("#tip").inner_text()
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert errors == [] and [url for url in requests if not url.startswith(("file:", "data:"))] == []
        opened.close()
