"""Looks at the built site in headless Chromium: after ``make docs``, ``python -m docs.check_site [--pictures FOLDER]``.

It checks every page at the width of a phone and of a desktop, light and dark: no error in the console, no request to
another host, nothing wider than the window. It asks the site's search the questions that users have asked of other
libraries; the page that answers must be among the first three hits. Needs the dependency group `pages` and a Chromium.
"""

import argparse
import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path

SITE = Path(__file__).parent / "_build" / "html"
SIZES = {"phone": (390, 844), "desktop": (1440, 900)}
QUESTIONS = {  # what a user types: the page that answers
    "same mask for image and label": "guides/noises",
    "noise only in training": "guides/noises",
    "why does my schedule recompile": "guides/levels",
    "rate per column": ("concepts/amounts-and-options", "reference/by-problem", "guides/frames", "guides/tables"),
    "resume to the same noise": "guides/checkpoints",
}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
HITS = "[...document.querySelectorAll('#search-results ul.search li > a')].map(hit => hit.getAttribute('href'))"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        """Requests are not printed."""


def served() -> tuple[http.server.ThreadingHTTPServer, str]:
    """The site on a free port of this machine: the search needs a server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


def problems_of(browser, address: str, names: list[str], pictures: Path | None) -> list[str]:
    found = []
    for device, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
            where = ""

            def note(text: str) -> None:
                found.append(f"{where}: {text}")  # noqa: B023, read while the page is open

            page.on("console", lambda message: message.type == "error" and note(message.text))
            page.on("pageerror", lambda error: note(str(error)))
            page.on(
                "request", lambda request: request.url.startswith((address, "data:")) or note(f"asks {request.url}")
            )
            for name in names:
                where = f"{name} ({device}, {scheme})"
                page.goto(f"{address}/{name}")
                if (wider := page.evaluate(OVERFLOW)) > 0:
                    note(f"{wider} pixels wider than the window")
                if pictures:
                    page.screenshot(path=pictures / f"{name.replace('/', '-')}-{device}-{scheme}.png")
            page.close()
    return found


def unanswered(browser, address: str) -> list[str]:
    found = []
    page = browser.new_page()
    for question, pages in QUESTIONS.items():
        page.goto(f"{address}/search.html?q={question.replace(' ', '+')}")
        page.wait_for_function(
            "document.querySelector('#search-results p.search-summary')?.innerText.includes('found')"
        )
        hits = [hit.split("#")[0].removesuffix(".html") for hit in page.evaluate(HITS)]
        first = list(dict.fromkeys(hits))[:3]
        print(f"{question!r}: {', '.join(first)}")
        if not {pages} & set(first) if isinstance(pages, str) else not set(pages) & set(first):
            found.append(f"{question!r} is not answered by the first three hits: {first}")
    return found


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, help="a folder for a screenshot of each page")
    parser.add_argument("pages", nargs="*", help="pages such as guides/tables.html; all, if none is named")
    options = parser.parse_args()
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    names = options.pages or sorted(
        str(page.relative_to(SITE)) for page in SITE.rglob("*.html") if "_static" not in page.parts
    )
    server, address = served()
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
        )
        found = problems_of(browser, address, names, options.pictures) + unanswered(browser, address)
        browser.close()
    server.shutdown()
    print(f"{len(names)} pages, {len(found)} problems", *found, sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
