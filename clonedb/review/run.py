"""One review: two revisions read and compared, the risks ranked, the texts made."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clonedb.errors import InvalidInput
from clonedb.review.comparison import Comparison
from clonedb.review.markdown import markdown
from clonedb.review.page import page
from clonedb.review.repository import Repository
from clonedb.review.revision import Revision
from clonedb.review.risk import Ranked, Severity
from clonedb.review.rules import rank


@dataclass(frozen=True)
class Review:
    """What changed from one revision to another, and what may go wrong with it."""

    comparison: Comparison
    titles: dict[str, str]

    @cached_property
    def ranked(self) -> list[Ranked]:
        """The risks, the gravest first."""
        return rank(self.comparison)

    @property
    def worst(self) -> Severity | None:
        return self.ranked[0].risk.severity if self.ranked else None

    def page(self) -> str:
        """One page of HTML."""
        return page(self.comparison, self.ranked, titles=self.titles)

    def markdown(self) -> str:
        """Markdown for a pull request."""
        return markdown(self.comparison, self.ranked, titles=self.titles)


@contextmanager
def review(directory: Path, revisions: str | None = None) -> Iterator[Review]:
    """Compare two revisions of the repository in a folder; see `clonedb.review.repository`.

    The review reads its files while it is open. Raises InvalidInput where there is no repository,
    no such revision, or nothing in it to compare.
    """
    repository = Repository(directory)
    base, head, title = repository.range(revisions)
    with tempfile.TemporaryDirectory(prefix="clonedb-review-") as folder:
        before = _commit(repository, base, Path(folder) / "base")
        if head is None:
            after = Revision(repository.root, "the working tree")
        else:
            after = _commit(repository, head, Path(folder) / "head")
        if not any((each.folder / "sql").is_dir() for each in (before, after)):
            raise InvalidInput(
                f"there is no sql/ in {repository.root.name} at either revision",
                remedy="name the project's folder with --repository",
            )
        titles = {
            "project": repository.name,
            "range": title,
            "base": before.title,
            "head": after.title,
        }
        yield Review(Comparison(before, after), titles)


def _commit(repository: Repository, commit: str, folder: Path) -> Revision:
    folder.mkdir()
    repository.extract(commit, folder)
    return Revision(folder, f"{repository.title(commit)} ({repository.day(commit)})")
