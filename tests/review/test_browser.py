"""The page of a change of this repository, opened from its file in a real browser."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import MISSING, Tab, browser, installed
from project import Project

from clonedb.review.run import review

ROOT = Path(__file__).parents[2]
# What is looked at of this repository; its tests would take seconds to read.
PARTS = ("sql", "migrations", "docs/schema.sql", "docs/grants.md", "clonedb/repositories")

pytestmark = pytest.mark.skipif(installed() is None, reason=MISSING)

# Beyond these nobody would open it, or wait for it.
BYTES = 2_000_000
SECONDS = 5.0


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a change that costs much, in all of the repository's queries."""
    folder = tmp_path_factory.mktemp("page")
    project = Project(folder / "clonedb")
    for part in PARTS:
        target = project.folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, target)
    project.write("clonedb/__init__.py", "")
    project.commit("As it is")
    entry = "sql/ledger/voice_models/count.txt"
    project.edit("sql/voice_models.sql", "-- How many of a user's models match.", COMMENT)
    project.edit(entry, "never null", "")
    text = (project.folder / entry).read_text()
    plain = text[: text.index("    filter ")] if "    filter " in text else text
    project.write(entry, plain[: plain.index("\nplan\n")] + PLAN)
    project.edit("docs/grants.md", "| `voice_models` | S I U D |", "| `voice_models` | S I U |")
    project.seal()
    started = time.process_time()
    with review(project.folder, "HEAD") as found:
        made = found.page()
    assert time.process_time() - started < SECONDS
    assert len(made.encode()) < BYTES
    file = folder / "review.html"
    file.write_text(made, encoding="utf-8")
    return file


COMMENT = "-- How many of a user's models match. </script><script>window.hacked = 1</script>"
PLAN = """
plan
    plain, as clonedb_app
        Aggregate
          Seq Scan on voice_models AS v
            filter: (v.deleted_at IS NULL) AND (v.user_id = $1)
"""


@pytest.fixture(scope="module")
def open_tab() -> Iterator[Tab]:
    program = installed()
    assert program is not None
    with browser(program) as tab:
        yield tab


@pytest.fixture
def tab(open_tab: Tab, page: Path) -> Tab:
    """The page, as somebody has just opened it at a desk."""
    open_tab.complaints.clear()
    open_tab.requests.clear()
    open_tab.size(1280, 900)
    open_tab.prefer("light")
    open_tab.open("about:blank")
    open_tab.open(page.as_uri())
    return open_tab


def visible(tab: Tab) -> list[str]:
    """The names of the queries in the list that can be seen."""
    found: list[str] = tab.ask(
        "[...document.querySelectorAll('#items > .item')].filter(e => e.checkVisibility())"
        ".map(e => e.querySelector('code').textContent)"
    )
    return found


def fits(tab: Tab) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return bool(tab.ask("document.documentElement.scrollWidth <= innerWidth"))


def test_risks_come_first_and_the_gravest_before_all(tab: Tab, tmp_path: Path) -> None:
    headings = tab.ask("[...document.querySelectorAll('h2')].map(e => e.textContent)")
    assert headings == ["Risks", "Changed queries", "Changed grants", "All queries"]
    assert tab.ask("document.querySelector('#risks').getBoundingClientRect().top < innerHeight")
    severities = tab.ask(
        "[...document.querySelectorAll('.risk')]"
        ".map(e => e.dataset.severity + ' ' + e.dataset.rule)"
    )
    assert severities[:3] == ["high strangers", "high whole_scans", "high results"]
    assert severities[3:] == ["medium grants", "low changed_plans"]
    text = tab.ask("document.querySelector('[data-rule=whole_scans]').textContent")
    assert "reads voice_models (500,000 rows) from end to end (plain)" in text
    tab.screenshot(tmp_path / "review.png")
    assert (tmp_path / "review.png").stat().st_size > 20_000


def test_it_asks_the_network_for_nothing_and_complains_of_nothing(tab: Tab, page: Path) -> None:
    assert tab.requests == [page.as_uri()]
    assert tab.complaints == []
    assert tab.ask("typeof window.hacked") == "undefined"


def test_no_other_script_than_its_own_would_run(tab: Tab, page: Path) -> None:
    forged = page.with_name("forged.html")
    planted = (
        "<script>window.hacked = 1</script><img src='nowhere.png' onerror='window.hacked = 2'>"
    )
    forged.write_text(page.read_text().replace("</main>", planted + "</main>", 1))
    tab.open(forged.as_uri())
    assert tab.ask("typeof window.hacked") == "undefined"
    assert tab.ask("document.querySelector('#count').textContent").endswith("queries")
    assert any("Content Security Policy" in each for each in tab.complaints)
    assert tab.refused == ["csp"]  # the picture


def test_search_finds_by_word_file_table_risk_and_change(tab: Tab) -> None:
    everything = visible(tab)
    assert len(everything) > 200
    tab.press("/", 191, "/")
    assert tab.ask("document.activeElement.id") == "q"
    tab.type("claim_pending SKIP")
    assert visible(tab) == ["document_queue.claim_pending"]
    assert tab.ask("document.querySelector('#count').textContent").startswith("1 of ")
    tab.press("Escape", 27)
    assert visible(tab) == everything
    choose(tab, "file", "voice_models.sql")
    assert {name.partition(".")[0] for name in visible(tab)} == {"voice_models"}
    choose(tab, "risk", "high")
    assert visible(tab) == ["voice_models.count"]
    tab.ask("document.querySelector('#search').reset()")
    choose(tab, "table", "audit_seals")
    assert "audit_seals.find_last" in visible(tab)
    assert "voice_models.count" not in visible(tab)
    choose(tab, "table", "")
    tab.ask("document.querySelector('#changed').click()")
    assert visible(tab) == ["voice_models.count"]


def test_a_link_opens_what_it_leads_to_even_if_a_search_hides_it(tab: Tab) -> None:
    choose(tab, "file", "users.sql")
    tab.ask("location.hash = '#a-voice_models.create'")
    opened = "document.getElementById('a-voice_models.create').open"
    tab.ask(
        f"new Promise(go => {{ const look = () => {opened} ? go() : setTimeout(look); look() }})"
    )
    assert "voice_models.create" in visible(tab)
    assert (
        tab.ask("getComputedStyle(document.querySelector('.item[open] pre')).overflowX") == "auto"
    )


def test_it_is_light_or_dark_as_the_reader_wishes(tab: Tab) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light = tab.ask(colour)
    tab.prefer("dark")
    dark = tab.ask(colour)
    assert _brightness(light) > 230
    assert _brightness(dark) < 40
    ink = tab.ask("getComputedStyle(document.body).color")
    assert _brightness(ink) - _brightness(dark) > 180


def test_it_fits_a_phone_and_a_desk(tab: Tab) -> None:
    assert fits(tab)
    tab.size(360, 740)
    assert fits(tab)
    tab.ask("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert fits(tab)
    smallest = tab.ask(
        "Math.min(...[...document.querySelectorAll('#search input, #search select')]"
        ".filter(e => e.type !== 'checkbox').map(e => e.getBoundingClientRect().width))"
    )
    assert smallest > 250


def test_it_prints_without_what_paper_cannot_do(tab: Tab) -> None:
    tab.prefer("light", "print")
    hidden = "['nav', '.search'].map(e => document.querySelector(e).checkVisibility())"
    assert tab.ask(hidden) == [False, False]
    tab.prefer("light")
    assert tab.pdf().startswith(b"%PDF")


def choose(tab: Tab, what: str, value: str) -> None:
    tab.ask(
        f"(e => {{ e.value = '{value}'; e.dispatchEvent(new Event('input', {{bubbles: true}})) }})"
        f"(document.querySelector('#{what}'))"
    )


def _brightness(colour: str) -> float:
    numbers = [float(each) for each in colour.split("(")[1].rstrip(")").split(",")[:3]]
    return sum(numbers) / 3
