"""The review as Markdown for a pull request: short enough to be a comment of one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from clonedb.review import difference, shown
from clonedb.review.comparison import Comparison, FileChange, ObjectChange, QueryChange
from clonedb.review.difference import ShownLine
from clonedb.review.risk import Ranked, Severity

# A comment on GitHub has at most 65,536 characters; some room for what others put around it.
LONGEST: Final = 60_000
# Of that for the risks, which come first.
_RISKS: Final = 30_000
_ROWS: Final = 60
_TITLE: Final = 500
_WHAT: Final = 5_000


def markdown(comparison: Comparison, ranked: list[Ranked], *, titles: Mapping[str, str]) -> str:
    """The whole text. Where it would be too long, what is left out is said and named."""
    counts = [(each, sum(r.risk.severity is each for r in ranked)) for each in Severity]
    numbers = ", ".join(f"{number} {severity.word}" for severity, number in counts)
    head = [
        f"## Database review: {_plain(titles['range'][:_TITLE])}",
        "",
        f"From {_plain(titles['base'][:_TITLE])} to {_plain(titles['head'][:_TITLE])}.",
        f"Changes: {shown.summary(comparison)}. Risks: {numbers}.",
        "",
        *_risks(ranked),
    ]
    text = "\n".join(head).rstrip() + "\n"
    left_out: list[str] = []
    for title, part in _parts(comparison):
        whole = "\n".join(part).rstrip() + "\n"
        if len(text) + len(whole) + 1 > LONGEST:
            left_out.append(title)
        else:
            text += f"\n{whole}"
    if left_out:
        names = ", ".join(left_out[:20]) + (", …" if len(left_out) > 20 else "")
        text += f"\nToo long for here, and on the page: {len(left_out)} more ({_plain(names)}).\n"
    return text


def _risks(ranked: list[Ranked]) -> Iterator[str]:
    if not ranked:
        yield "No rule found anything."
        return
    yield "| risk | of | what | why |"
    yield "| --- | --- | --- | --- |"
    said = set[str]()
    # One that would fill it all is cut, so that there is a row.
    rows, length = 0, 0
    for rule, risk in ranked[:_ROWS]:
        why = "as above" if rule.name in said else rule.why
        said.add(rule.name)
        place = f" ({_code(risk.place)})" if risk.place else ""
        subject, what = _code(risk.subject[:_TITLE]), _plain(risk.what[:_WHAT])
        row = (
            f"| **{risk.severity.word}** | {subject} | {what}{place} "
            f"| {_plain(rule.title)}. {_plain(why)} |"
        )
        length += len(row) + 1
        if length > _RISKS:
            break
        rows += 1
        yield row
    if len(ranked) > rows:
        yield f"\n{len(ranked) - rows} more are on the page."


def _parts(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    for query in comparison.queries:
        yield query.name, list(_query(comparison, query))
    for migration in comparison.migrations:
        yield migration.name, list(_migration(comparison, migration))
    for each in shown.shown_objects(comparison):
        yield each.object.name, list(_object(each))


def _query(comparison: Comparison, change: QueryChange) -> Iterator[str]:
    query = change.source.query
    place = f"{query.path}:{query.line}"
    yield f"<details><summary>{_html(change.name)}: {change.kind} ({_html(place)})</summary>"
    yield ""
    if change.kind != "affected":
        before = change.before.text if change.before else ""
        after = change.after.text if change.after else ""
        yield from _fence(_lines(difference.of_sql(before, after)), "diff")
    for fact in shown.facts(change):
        if fact.before or fact.after:
            was, now = (_code(", ".join(each) or "nothing") for each in (fact.before, fact.after))
            yield f"- {fact.title}: {was} before, {now} now"
        elif fact.short and change.kind != "removed":
            yield f"- {fact.title}: {_code(', '.join(fact.same))}, as before"
    for touched in change.new_touches():
        columns = f": {', '.join(touched.columns)}" if touched.columns else ""
        yield f"- newly {touched.verb} {_code(touched.table + columns)}"
    found = shown.callers(comparison, change)
    places = ", ".join(f"{_code(each.place)} {_plain(each.function)}" for each in found[:6])
    yield f"- called by: {places or 'nothing'}{', …' if len(found) > 6 else ''}"
    for plan in shown.changed_plans(change):
        yield ""
        yield f"Plan of {_plain(plan.labels)}, as {plan.login}:"
        yield ""
        lines = [*[each for each in plan.before if each.mark == "-"], *plan.after]
        yield from _fence(_lines(lines), "diff")
    yield ""
    yield "</details>"


def _migration(comparison: Comparison, change: FileChange) -> Iterator[str]:
    rehearsal = shown.rehearsal_of(comparison, change)
    yield f"<details><summary>{_html(change.name)}: {change.kind}</summary>"
    yield ""
    if rehearsal is None:
        yield "It was not rehearsed: its locks are unknown."
    else:
        yield f"Phase: {rehearsal.phase}."
        yield ""
        for title, value in shown.work_lines(rehearsal.up):
            yield f"- {title} {_code(value)}"
        for each in shown.blocked(comparison, rehearsal.up):
            waits = f"{len(each.queries)} named queries would wait"
            yield f"- {_code(each.lock.shown)}, line {each.lock.line}: {each.blocks}; {waits}"
    yield ""
    lines = difference.of_sql(change.before or "", change.after or "")
    yield from _fence(_lines(lines), "diff" if change.before else "sql", marks=bool(change.before))
    yield "</details>"


def _object(change: ObjectChange) -> Iterator[str]:
    found = change.object
    title = _html(f"{found.kind.lower()} {found.name}: {change.kind}")
    yield f"<details><summary>{title}</summary>"
    yield ""
    before = change.before.text if change.before else ""
    after = change.after.text if change.after else ""
    yield from _fence(_lines(difference.of_sql(before, after)), "diff")
    yield "</details>"


def _lines(lines: Iterable[ShownLine]) -> list[str]:
    return [
        f"  … {line.number} lines as before" if line.mark == "…" else f"{line.mark}{line.text}"
        for line in lines
    ]


def _fence(lines: list[str], language: str, *, marks: bool = True) -> Iterator[str]:
    """A block of code, with a fence longer than any in it."""
    text = "\n".join(line if marks else line[1:] for line in lines)
    fence = "`" * max(3, *(len(each) + 1 for each in re.findall("`+", text) or [""]))
    yield f"{fence}{language}"
    yield text
    yield fence


def _code(text: str) -> str:
    """A span of code that a cell of a table can hold."""
    text = " ".join(text.split()).replace("|", "\\|")
    ticks = "`" * (1 + max((len(each) for each in re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _plain(text: str) -> str:
    """Text that is nothing but text: no markup, no mention of people."""
    text = re.sub(r"([\\`*_{}\[\]<>()#+!|~&-])", r"\\\1", " ".join(text.split()))
    return text.replace("@", "@\u200b")


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
