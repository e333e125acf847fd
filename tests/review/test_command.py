"""`clonedb review` on real repositories: what it compares, what it writes, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Project

from clonedb import cli

SQL = "sql/things.sql"


class Ran:
    """A run of the command: its exit code and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Command = Callable[..., Ran]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["clonedb", "review", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        said = capsys.readouterr()
        return Ran(int(exit_.value.code or 0), said.out, said.err)

    return run


def reviewed(command: Command, project: Project, *arguments: str) -> set[str]:
    """The queries and migrations that a review finds something of."""
    ran = command(*arguments, "--repository", str(project.folder), "--json")
    assert ran.code == 0, ran.err
    return {risk["subject"] for risk in json.loads(ran.out)}


def weaken(project: Project, bound: str = "20") -> None:
    project.edit(SQL, "-- rows <= 10", f"-- rows <= {bound}")
    project.seal()


def test_by_default_what_left_main_is_compared_with_the_working_tree(
    project: Project, command: Command
) -> None:
    project.git("checkout", "--quiet", "-b", "feature")
    weaken(project)
    assert reviewed(command, project) == {"things.find_by_id"}
    project.commit("Weaker")
    assert reviewed(command, project) == {"things.find_by_id"}
    project.write("sql/check/sizes.toml", "[rows]\nthings = 3\n")
    project.git("checkout", "--quiet", "main", "--", "sql/things.sql", "sql/ledger")
    assert reviewed(command, project) == {"sql/check/sizes.toml"}


def test_what_main_has_since_is_no_change_of_this_branch(
    project: Project, command: Command
) -> None:
    project.git("checkout", "--quiet", "-b", "feature")
    project.git("checkout", "--quiet", "main")
    weaken(project)
    project.commit("Weaker, on main")
    project.git("checkout", "--quiet", "feature")
    assert reviewed(command, project) == set()
    assert reviewed(command, project, "main...feature") == set()
    assert reviewed(command, project, "feature...main") == {"things.find_by_id"}


def test_two_commits_are_compared_without_the_working_tree(
    project: Project, command: Command
) -> None:
    weaken(project)
    project.commit("Weaker")
    project.write("sql/check/sizes.toml", "[rows]\nthings = 3\n")
    assert reviewed(command, project, "base..HEAD") == {"things.find_by_id"}
    assert reviewed(command, project, "base..") == {"things.find_by_id"}
    assert reviewed(command, project, "HEAD") == {"sql/check/sizes.toml"}
    assert reviewed(command, project, "base") == {"things.find_by_id", "sql/check/sizes.toml"}


def test_an_untracked_file_is_part_of_the_working_tree(project: Project, command: Command) -> None:
    project.write("sql/others.sql", "-- name: a()$\n-- One.\nSELECT 1;\n")
    assert "others.a" in reviewed(command, project)


def test_a_project_may_be_a_folder_of_its_repository(
    project: Project, command: Command, tmp_path: Path
) -> None:
    whole = Project(tmp_path / "whole")
    for path in project.git("ls-files").splitlines():
        whole.write(f"services/shop/{path}", (project.folder / path).read_text())
    whole.commit("All services")
    for folder in ("services/shop", "services/shop/sql"):
        where = str(whole.folder / folder)
        whole.edit("services/shop/sql/things.sql", "-- rows <= 10\n", "")
        ran = command("HEAD", "--repository", where, "--json")
        assert {risk["rule"] for risk in json.loads(ran.out)} == {"header_claims", "stale_ledger"}
        whole.back()


def test_the_page_goes_where_it_is_told_and_is_there_as_a_whole(
    project: Project, command: Command, tmp_path: Path
) -> None:
    weaken(project)
    repository = ("--repository", str(project.folder))
    assert command(*repository).code == 0
    page = (tmp_path / "review.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert command(*repository, "--to", "a.html", "--markdown", "a.md").code == 0
    assert (tmp_path / "a.html").read_text() == page
    assert r"promised rows \<= 10" in (tmp_path / "a.md").read_text()
    (tmp_path / "review.html").unlink()
    printed = command(*repository, "--markdown", "-")
    assert printed.out == (tmp_path / "a.md").read_text()
    assert not (tmp_path / "review.html").exists()


def test_nothing_changed_is_a_page_that_says_so(
    project: Project, command: Command, tmp_path: Path
) -> None:
    ran = command("base..HEAD", "--repository", str(project.folder), "--fail-on", "low")
    assert ran.code == 0
    assert "Nothing changed in queries, migrations or schema." in Path("review.html").read_text()


@pytest.mark.parametrize(("gravest", "code"), [("high", 0), ("medium", 1), ("low", 1)])
def test_fail_on_decides_the_exit_code(
    project: Project, command: Command, gravest: str, code: int
) -> None:
    weaken(project)
    assert command("--repository", str(project.folder), "--fail-on", gravest).code == code


def test_a_revision_without_a_ledger_is_compared_and_said(
    project: Project, command: Command
) -> None:
    project.git("rm", "--quiet", "-r", "--cached", "sql/ledger")
    project.git("commit", "--quiet", "-m", "Without a ledger")
    weaken(project)
    ran = command("main", "--repository", str(project.folder))
    assert ran.code == 0
    assert "before the change: there is no ledger" in ran.out
    assert "promised rows <= 10" in ran.out


def refused(ran: Ran, *words: str) -> None:
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("clonedb: ")
    for word in words:
        assert word in ran.err


def test_what_is_no_repository_is_refused(command: Command, tmp_path: Path) -> None:
    where = ("--repository", str(tmp_path))
    refused(command(*where), "is in no git repository", "--repository")
    refused(command("--repository", str(tmp_path / "nowhere")), "is no folder")


@pytest.mark.parametrize(
    "revision", ["nowhere", "nowhere..HEAD", "base..nowhere", "--output=x..HEAD", "HEAD:sql..HEAD"]
)
def test_an_unknown_revision_is_refused(
    project: Project, command: Command, revision: str, tmp_path: Path
) -> None:
    where = ("--repository", str(project.folder), "--", revision)
    refused(command(*where), "there is no revision", "name a commit")
    assert list(tmp_path.iterdir()) == []


def test_without_a_main_line_it_asks_for_a_range(project: Project, command: Command) -> None:
    project.git("checkout", "--quiet", "-b", "other")
    project.git("branch", "--quiet", "-D", "main")
    refused(command("--repository", str(project.folder)), "no origin/main or main", "BASE..HEAD")


def test_a_shallow_clone_says_how_to_get_the_rest(
    project: Project, command: Command, tmp_path: Path
) -> None:
    weaken(project)
    project.commit("Weaker")
    url = f"file://{project.folder}"
    subprocess.run(
        ["git", "clone", "--quiet", "--depth", "1", "--no-tags", url, str(tmp_path / "clone")],
        check=True,
    )
    ran = command("HEAD~1..HEAD", "--repository", str(tmp_path / "clone"))
    refused(ran, "there is no revision 'HEAD~1'", "git fetch --unshallow")


def test_histories_without_a_common_commit_are_refused(project: Project, command: Command) -> None:
    project.git("checkout", "--quiet", "--orphan", "other")
    project.commit("Another beginning")
    refused(command("--repository", str(project.folder)), "no commit in common")


def test_a_repository_without_queries_is_refused(command: Command, tmp_path: Path) -> None:
    empty = Project(tmp_path / "empty")
    empty.write("README.md", "Nothing.")
    empty.commit("Nothing")
    refused(command("HEAD", "--repository", str(empty.folder)), "there is no sql/")


@pytest.mark.parametrize("option", ["--to", "--markdown"])
def test_a_file_that_cannot_be_written_is_refused(
    project: Project, command: Command, option: str, tmp_path: Path
) -> None:
    weaken(project)
    where = ("--repository", str(project.folder), option)
    refused(command(*where, str(tmp_path)), "Is a directory")
    refused(command(*where, str(tmp_path / "no" / "a.html")), "No such file or directory")


def test_links_out_of_a_commit_are_not_followed(
    project: Project, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "secret.sql").write_text("-- name: secret()$\n-- Secret.\nSELECT 1;\n")
    (project.folder / "sql" / "linked.sql").symlink_to(tmp_path / "secret.sql")
    project.commit("A link")
    ran = command("base..HEAD", "--repository", str(project.folder))
    assert ran.code == 0
    assert "secret" not in Path("review.html").read_text()


def test_a_folder_of_a_reviewed_revision_is_a_name_and_no_option_of_git(
    project: Project, command: Command
) -> None:
    project.write("kept.txt", "as it was")
    project.write("--output=kept.txt/__init__.py", "")
    head = project.commit("A package whose name git would take for an option")
    ran = command(f"{head}~1..{head}", "--repository", str(project.folder))
    assert ran.code == 0, ran.err
    assert (project.folder / "kept.txt").read_text() == "as it was"
