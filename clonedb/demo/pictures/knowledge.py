"""The picture of what clones are made of: voices, faces, documents, and cached answers."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.text import Text

from clonedb.demo.answers import Asked, CacheFigures
from clonedb.demo.models import ModelFigures
from clonedb.demo.pictures.drawing import new_table
from clonedb.demo.reading import DocumentFigures

# Of a snippet, about two lines: so much before the first word that matches, and in all.
_BEFORE: Final = 40
_EXCERPT: Final = 130


def draw_models(models: ModelFigures) -> RenderableType:
    """Each person's voice and face in use, and the voice that was in use before."""
    table = new_table()
    for header in ("", "speaks with", "instead of", "and looks like"):
        table.add_column(header, no_wrap=True)
    for person in models.people:
        voice, before, face = person.voice, person.voice_before, person.face
        size = f"{face.resolution['width']}×{face.resolution['height']}"
        table.add_row(
            Text(person.name, "bold"),
            _model(voice.model_path, voice.quality_score),
            _model(before.model_path, before.quality_score, "dim"),
            _model(face.model_path, face.quality_score).append(f"  {size}", "dim"),
        )
    active = {person.active_voices for person in models.people}
    each = "one active voice each" if active == {1} else f"ACTIVE VOICES: {sorted(active)}"
    words = f"{models.activations} activations, {models.at_once} of them at once: {each}"
    return Group(table, Text(words, "dim"))


def draw_documents(documents: DocumentFigures) -> RenderableType:
    """Everybody's documents, how they were read, and what went wrong on the way."""
    table = new_table()
    table.add_column()
    for header in ("documents", "failed", "size", "pieces"):
        table.add_column(header, justify="right", no_wrap=True)
    for person in documents.people:
        figures = person.statistics
        table.add_row(
            Text(person.name, "bold"),
            f"{figures.documents:,}",
            Text(f"{figures.failed:,}", "yellow") if figures.failed else Text("–", "dim"),
            decimal(figures.size_bytes),
            f"{figures.chunks:,}",
        )
    shares = ", ".join(str(one.completed + one.failed) for one in documents.workers)
    words = (
        f"{documents.documents} documents read by {len(documents.workers)} workers in "
        f"{documents.seconds:.2f} s, {shares}: {documents.vectors} vectors, "
        f"{documents.queue.pending + documents.queue.processing} waiting"
    )
    return Group(table, Text(words, "dim"))


def draw_mishaps(documents: DocumentFigures) -> RenderableType:
    """The document of a worker that fell silent, and those that could not be read."""
    lost = documents.lost
    found = documents.embeddings_found
    table = new_table(headers=False)
    table.add_column(no_wrap=True)
    table.add_column(style="yellow")
    table.add_row(
        lost.filename, f"{lost.worker} fell silent with it, {lost.finished_by} took it over"
    )
    table.add_row("  its embeddings", f"{found} found in the cache of {documents.embeddings_made}")
    table.add_row(f"  {lost.worker} answers late", lost.late_answer)
    for failure in documents.failures:
        table.add_row(failure.filename, f"failed: {failure.error_message}")
    return table


def draw_searches(documents: DocumentFigures) -> RenderableType:
    """Questions, and the places in the documents that match them, best first."""
    table = new_table(headers=False)
    table.add_column(no_wrap=True, justify="right")
    table.add_column()
    for search in documents.searches:
        table.add_row(Text(search.name.split()[0], "bold"), Text(search.question, "bold"))
        for match in search.matches:
            found = Text(match.document.filename + "\n").append(_excerpt(match.snippet or ""))
            table.add_row(Text(f"{match.rank:.3f}", "cyan"), found)
        if not search.matches:
            table.add_row("", Text("nothing: it is in documents of others", "yellow"))
    return table


def draw_answers(cache: CacheFigures) -> RenderableType:
    """What became of one question's answer in the caches, and what they held then."""
    owner, reader = (name.split()[0] for name in (cache.owner, cache.reader))
    table = new_table(headers=False)
    table.add_column(no_wrap=True)
    table.add_column(style="yellow")
    times = "once" if cache.computed == 1 else f"{cache.computed:,} times"
    table.add_row(
        f"{owner}, {cache.callers} callers at once", f"{times} {_asked(cache.first, True)}"
    )
    table.add_row(f"{owner} asks again", _asked(cache.again, True))
    table.add_row(f"{owner} asks another process", _asked(cache.elsewhere, True))
    table.add_row(f"{reader} asks the same", _asked(cache.reader_asks, False))
    table.add_row(
        f"{cache.changed_document} is indexed anew",
        f"every process forgets; then {_asked(cache.after_change, True)}",
    )
    held = " · ".join(
        f"{one.cache} {one.entries:,}, {decimal(one.value_bytes)}, "
        f"{one.hits:,} {'hit' if one.hits == 1 else 'hits'}"
        for one in cache.caches
        if one.entries
    )
    return Group(Text(f"“{cache.question}”", "dim"), table, Text(held, "dim"))


def _model(path: str, quality: float | None, style: str = "") -> Text:
    judged = "" if quality is None else f" {quality:.2f}"
    return Text.assemble((PurePosixPath(path).stem, style), (judged, style or "cyan"))


def _asked(asked: Asked, same: bool) -> str:
    came = {"computed": "computed", "memory": "from memory", "database": "from the database"}
    whose = "" if asked.right == same else ", THE WRONG ANSWER"
    if asked.milliseconds < 1:
        return f"{came[asked.tier]} in {asked.milliseconds * 1000:.0f} µs{whose}"
    return f"{came[asked.tier]} in {asked.milliseconds:.1f} ms{whose}"


def _excerpt(snippet: str) -> Text:
    """The part of a snippet around its first match; what matches is in brackets."""
    words = " ".join(snippet.split()).replace("⟦", "[").replace("⟧", "]")
    start = words.find(" ", max(words.find("[") - _BEFORE, 0)) + 1 if _late(words) else 0
    end = words.rfind(" ", start, start + _EXCERPT) if len(words) > start + _EXCERPT else len(words)
    before, after = "… " if start else "", "" if words[:end].endswith((".", "?")) else " …"
    text = Text(f"{before}{words[start:end]}{after}")
    text.highlight_regex(r"\[[^]]*\]", "bold green")
    return text


def _late(words: str) -> bool:
    return words.find("[") > _BEFORE
