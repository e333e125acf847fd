"""The page and the Markdown: whatever a repository says is shown as text, and never more."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from project import Project

from clonedb.review import difference
from clonedb.review.markdown import LONGEST, markdown
from clonedb.review.risk import Ranked, Risk, Rule, Severity
from clonedb.review.run import review

HOSTILE = "</script></style></pre></details><script>hacked()</script><img src=x onerror=hacked()>"
VOID = {"meta", "input", "link", "br"}


class Tags(HTMLParser):
    """The elements of a page, which has to close what it opens."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def hostile(project: Project) -> Project:
    """HTML wherever a repository can have a text of its own."""
    project.edit("sql/things.sql", "-- One thing of a user.", f"-- One thing. {HOSTILE}")
    project.edit("sql/things.sql", "    t.label\nFROM", f"    t.label  -- see {HOSTILE}\nFROM")
    project.edit("sql/things.sql", "ARRAY['answers']", f"ARRAY['{HOSTILE}|```']")
    project.edit("sql/ledger/things/find_by_id.txt", "t.user_id = $1", f"t.user_id = '{HOSTILE}'")
    project.edit("docs/schema.sql", "user_id = me()", f"user_id = '{HOSTILE}'")
    project.edit("docs/grants.md", "| S u |", f"| S {HOSTILE} |")
    project.write("migrations/0002_add.sql", f"-- {HOSTILE}\nSELECT 1;\n")
    project.edit("shop/things.py", "def rename(", "def renäme(")
    project.seal()
    project.commit(f"{HOSTILE} `|*_ @ada")
    return project


def test_the_page_shows_html_of_a_repository_as_text(hostile: Project) -> None:
    with review(hostile.folder, "base..HEAD") as found:
        page = found.page()
    tags = Tags(page)
    assert tags.seen["script"] == tags.seen["style"] == 1
    assert "img" not in tags.seen
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert tags.text.count(HOSTILE) >= 8


def test_the_page_needs_nothing_but_itself(hostile: Project) -> None:
    with review(hostile.folder, "base..HEAD") as found:
        tags = Tags(found.page())
    addresses = [value for name, value in tags.attributes if name in ("src", "href", "action")]
    assert addresses
    assert all(value is not None and value.startswith("#") for value in addresses)
    policy = next(value for _, value in tags.attributes if value and "default-src" in value)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_every_link_of_the_page_leads_somewhere(project: Project) -> None:
    project.edit("docs/schema.sql", "USING (user_id = me())", "USING (true)")
    project.edit("sql/things.sql", "-- rows <= 10\n", "")
    project.remove_query("sql/things.sql", "rename")
    project.write("migrations/0002_add.sql", "SELECT 1;\n")
    project.seal()
    with review(project.folder, "base") as found:
        tags = Tags(found.page())
    places = {value for name, value in tags.attributes if name == "id"}
    links = {value for name, value in tags.attributes if name == "href"}
    assert links >= {"#q-things.find_by_id", "#m-0002_add", "#o-0"}
    assert {link.removeprefix("#") for link in links if link} <= places


def test_the_same_revisions_give_the_same_page(project: Project) -> None:
    project.edit("sql/things.sql", "-- rows <= 10\n", "")
    project.seal()
    project.commit("Less")
    pages = []
    for _ in range(2):
        with review(project.folder, "base..HEAD") as found:
            pages.append((found.page(), found.markdown()))
    assert pages[0] == pages[1]


def test_markdown_shows_html_of_a_repository_as_text(hostile: Project) -> None:
    with review(hostile.folder, "base..HEAD") as found:
        text = found.markdown()
    outside = _without_code(text)
    assert "hacked" in text
    tags = set(re.findall(r"(?<!\\)<(/?\w+)", outside))
    assert tags == {"details", "/details", "summary", "/summary"}
    assert not re.search(r"(?<![\\`\w])@\w", outside)


def test_markdown_has_its_code_in_fences_that_hold(hostile: Project) -> None:
    with review(hostile.folder, "base..HEAD") as found:
        lines = found.markdown().splitlines()
    fences = [line for line in lines if re.match(r"`{3,}", line)]
    assert "````diff" in fences  # the one around a text with a fence
    assert len(fences) % 2 == 0


def test_markdown_fits_in_a_comment_and_names_what_does_not(project: Project) -> None:
    texts = [
        f"-- name: many_{number}()\n-- Rows.\nSELECT\n" + "    1 AS one,\n" * 200 + "    2;\n"
        for number in range(40)
    ]
    project.write("sql/many.sql", "\n".join(texts))
    with review(project.folder, "base") as found:
        text = found.markdown()
    assert LONGEST - 8_000 < len(text) < 65_536
    assert re.search(r"Too long for here, and on the page: \d+ more \(many\.many", text)


def test_markdown_fits_whatever_the_risks_say_and_shows_it_as_text(project: Project) -> None:
    said = "[a](https://example.com) *b* _c_ `d` &lt;e&gt; | f @ada "
    rule = Rule("one", "One", said, lambda comparison: iter(()))
    ranked = [
        Ranked(rule, Risk(Severity.HIGH, said * 10, said * number)) for number in (*range(1, 100),)
    ]
    with review(project.folder, "base") as found:
        titles = dict.fromkeys(found.titles, said * 2_000)
        text = markdown(found.comparison, ranked, titles=titles)
    assert len(text) < 65_536
    rows = [line for line in text.splitlines() if line.startswith("| **high**")]
    assert 10 < len(rows) < 60
    assert f"\n{len(ranked) - len(rows)} more are on the page." in text
    outside = _without_code(text)
    assert not re.search(r"(?<!\\)[\[`_&]|(?<![\\`\w])@\w|(?<![\\*])\*(?!\*)", outside)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {5}


def test_a_difference_marks_the_words_that_changed() -> None:
    before = "SELECT a.id\nFROM a\nWHERE a.id = :id\n    AND a.x\nLIMIT 1"
    after = "SELECT a.id\nFROM a\nWHERE a.id > :id\n    AND a.x\nLIMIT 1"
    lines = difference.of_sql(before, after, context=1)
    assert [(line.mark, line.text or line.number) for line in lines] == [
        ("…", 2) if line.mark == "…" else (line.mark, line.text) for line in lines
    ]
    assert [line.mark for line in lines] == [" ", " ", "-", "+", " ", " "]
    changed = {line.mark: [w.word.text for w in line.words if w.changed] for line in lines}
    assert changed["-"] == ["="]
    assert changed["+"] == [">"]


def test_a_difference_gives_both_texts_back() -> None:
    before = "\n".join(f"line {number}" for number in range(30))
    after = before.replace("line 7\n", "").replace("line 20", "line twenty\nand one")
    lines = difference.of_text(before, after, context=100)
    assert "\n".join(line.text for line in lines if line.mark != "+") == before
    assert "\n".join(line.text for line in lines if line.mark != "-") == after
    folded = difference.of_text(before, after)
    assert [line.number for line in folded if line.mark == "…"] == [4, 6, 6]


def _without_code(text: str) -> str:
    """Markdown without its blocks and spans of code."""
    text = re.sub(r"^(`{3,})\w*\n.*?\n\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
