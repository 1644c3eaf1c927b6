"""The web page in headless Chromium: sorting, links, and widths of desktop and phone."""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from cpbench.report.page import html
from tests.report.records import record
from tests.report.test_page import NASTY, Parsed, drawn, tables

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OFFLINE = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
           "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
           "--virtual-time-budget=2000")
WIDTHS = [1280, 375]

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """With a name of 200 letters, many overrides, a figure and a nasty name."""
    folder = tmp_path_factory.mktemp("figures")
    config = {f"training.setting_{number}": number for number in range(6)}
    return html(tables(
        record("b", 1, 0.2), record("b", 2, 0.3), record("a", 1, 0.6), record("x" * 200, 1, 0.1),
        record(NASTY, 1, 0.4, config=config, config_sources=dict.fromkeys(config, "--set")),
        record("c", 1, 0.5, cost={"fit_seconds": 1.0, "evaluate_seconds": 0.5, "epochs": 3, "best_epoch": 2,
                                  "peak_rss_bytes": 5, "parameters": 9}),
        record("no-number", metrics={"test": {"MRR": 0.1}}), record("oracle", hr=0.9)),
        ["w" * 300], [drawn(folder)])


def browse(tmp_path: Path, text: str, *options: str, fragment: str = "") -> str:
    """The document after its scripts have run."""
    page = tmp_path / "page.html"
    page.write_text(text, encoding="utf-8")
    done = subprocess.run([str(BROWSER), *OFFLINE, f"--user-data-dir={tmp_path / 'profile'}", *options, "--dump-dom",
                           f"{page.as_uri()}{fragment}"], capture_output=True, text=True, timeout=120)
    assert "</html>" in done.stdout, done.stderr
    return done.stdout


def measure(tmp_path: Path, text: str, script: str, *options: str, width: int | None = None) -> dict[str, Any]:
    """What `script`, run when the page is there, returns; the page's policy, which forbids it, is taken out.

    `width` in pixels: in a frame, since a headless window is never narrower than 500.
    """
    assert "Content-Security-Policy" in text
    test = f"addEventListener('load', () => {{ top.document.title = JSON.stringify((() => {{ {script} }})()) }})"
    tested = re.sub(r"<meta http-equiv.*\n", "", text).replace("</body>", f"<script>{test}</script></body>")
    if width is not None:
        tested = (f'<html><title></title><body><iframe style="width: {width}px; height: 1200px; border: 0" '
                  f'srcdoc="{escape(tested)}"></iframe></body></html>')
    seen = browse(tmp_path, tested, *options)
    found = re.search("<title>(.*?)</title>", seen, re.DOTALL)
    assert found
    return dict(json.loads(unescape(found[1])))


def order_of_models(seen: str) -> list[str]:
    """Of the first table."""
    return [unescape(name) for name in re.findall(r'<a href="#runs-\d+">([^<]*)</a>\s*<small>(?:tuned|ceiling)',
                                                  seen.partition("</table>")[0])]


def test_the_page_works_under_its_own_policy(tmp_path: Path, text: str) -> None:
    injected = "<script>document.title = 'broken into'</script></body>"
    seen = browse(tmp_path, text.replace("</body>", injected))
    assert "<title>broken into" not in seen and "<title>cpbench report" in seen
    assert "<button" in seen.partition("<tbody>")[0]  # its own script ran


def test_a_sorted_view_has_an_address(tmp_path: Path, text: str) -> None:
    assert order_of_models(text)[:3] == ["a", "c", NASTY]
    table = next(each["id"] for tag, each in Parsed(text).tags if tag == "table")
    up = browse(tmp_path, text, fragment=f"#sort={table}:HR%4010:ascending")
    assert order_of_models(up) == ["x" * 200, "b", NASTY, "c", "a", "no-number", "oracle"]
    assert re.search(r'data-column="HR@10" aria-sort="ascending"', up) and up.count(' aria-sort="') == 1
    names = browse(tmp_path, text, fragment=f"#sort={table}:model:descending")
    assert [name for name in order_of_models(names) if len(name) < 20] == ["no-number", "c", "b", "a", "oracle"]


@pytest.mark.parametrize("fragment", ["#sort=", "#sort=nowhere:HR@10:ascending", "#sort=main:HR@10:ascending",
                                      "#sort=%E0%A4%A:x:y", "#nowhere"])
def test_an_address_that_means_nothing_changes_nothing(tmp_path: Path, text: str, fragment: str) -> None:
    assert order_of_models(browse(tmp_path, text, fragment=fragment)) == order_of_models(text)


def test_clicks_and_keys_sort(tmp_path: Path, text: str) -> None:
    found = measure(tmp_path, text, """
        const table = document.querySelector("table.sortable");
        const buttons = [...table.querySelectorAll("thead button")];
        const mrr = buttons.find((each) => each.textContent === "MRR");
        const first = () => table.tBodies[0].rows[0].cells[0].querySelector("a").textContent;
        const states = [];
        for (const button of [mrr, mrr, buttons[0], mrr]) {
          button.click();
          states.push([button.parentElement.ariaSort, first(), location.hash.split(":").pop()]);
        }
        mrr.focus();
        return { states, focused: document.activeElement === mrr, tab: mrr.tabIndex,
                 sorted: table.querySelectorAll("[aria-sort]").length };
    """)
    states = found.pop("states")
    assert found == {"focused": True, "tab": 0, "sorted": 1}
    assert states == [["descending", "a", "descending"], ["ascending", "x" * 200, "ascending"],
                      ["ascending", NASTY, "ascending"], ["descending", "a", "descending"]]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", [0, 1])
def test_the_body_is_no_wider_than_the_window(tmp_path: Path, text: str, width: int, scheme: int) -> None:
    """Everything opened; tables and figures scroll inside their own boxes, the names stay in sight."""
    found = measure(tmp_path, text, """
        for (const each of document.querySelectorAll("details")) each.open = true;
        const box = document.querySelector(".scroll");
        box.scrollLeft = 200;
        const name = box.querySelector("tbody th").getBoundingClientRect();
        const colours = getComputedStyle(document.body);
        const image = document.querySelector("figure img");
        return { window: innerWidth, page: document.documentElement.scrollWidth,
                 scrolls: box.scrollLeft > 0, name: [name.left - box.getBoundingClientRect().left, name.width],
                 dark: colours.backgroundColor !== "rgb(255, 255, 255)",
                 image: [image.complete && image.naturalWidth > 0, getComputedStyle(image).backgroundColor] };
    """, "--window-size=1400,1300", f"--blink-settings=preferredColorScheme={scheme}", width=width)
    assert found["window"] == width and found["page"] == width, found
    assert found["dark"] is (scheme == 0) and found["image"] == [True, "rgb(255, 255, 255)"]
    left, name_width = found["name"]
    assert abs(left) < 1 and name_width < width / 2
    assert found["scrolls"] is (width == 375)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_has_the_focus_is_not_under_the_names(tmp_path: Path, text: str, width: int) -> None:
    """The column of names stays in sight: what the keyboard reaches from the right must not stop behind it."""
    found = measure(tmp_path, text, """
        const box = document.querySelector(".scroll");
        box.style.maxWidth = "600px";
        const link = box.querySelector("tbody td a");
        box.scrollLeft = box.scrollWidth;
        link.focus();
        const place = link.getBoundingClientRect();
        const seen = document.elementFromPoint(place.left + 1, place.top + place.height / 2);
        return { moved: box.scrollWidth > box.clientWidth, seen: seen === link, tag: seen && seen.tagName };
    """, width=width)
    assert found["moved"] and found["seen"], found
