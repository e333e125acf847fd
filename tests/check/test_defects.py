"""Every refusal by many variants of its defect, and what looks like one and is none.

tests/check/defects/ has a file for each refusal and a query for each variant, which says in its
header what is wrong with it. `pytest tests/check/test_defects.py -rP | grep ^planted` prints what was
found of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clonedb.check.examine import Examination
from clonedb.check.finding import Finding
from clonedb.check.refusals import DECLARED, REFUSALS, Subject, robbed_indexes
from clonedb.check.scratch import PRODUCTION, Scratch
from clonedb.query.modules import all_queries, load_directory
from clonedb.query.statements import Query

DEFECTS = sorted(Path(__file__).with_name("defects").glob("*.sql"))
HARMLESS = Path(__file__).with_name("harmless")

pytestmark = pytest.mark.filterwarnings("ignore:.*may not be a select")
Found = dict[str, list[Finding]]


def examine(examination: Examination, queries: list[Query]) -> Found:
    found = list(examination.examine(queries))
    subject = Subject(examination, found, own=False)
    every = sorted({each for refusal in REFUSALS for each in refusal(subject)})
    return {query.name: [each for each in every if each.query == query.name] for query in queries}


@pytest.fixture(scope="module")
def queries() -> list[Query]:
    return list(all_queries(load_directory(DEFECTS[0].parent)))


@pytest.mark.parametrize("rule", [each.stem for each in DEFECTS])
def test_every_variant_of_a_defect_is_refused(
    examination: Examination,
    queries: list[Query],
    rule: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(robbed_indexes, "FEW_ROWS", 0)
    found = examine(examination, [each for each in queries if each.name.startswith(f"{rule}.")])
    assert len(found) >= 5
    for name, findings in found.items():
        told = [each for each in findings if each.rule == rule]
        for each in told:
            print(f"planted {name}: line {each.line}: {each.what} - {each.remedy}")
        assert told, f"nothing of {name}; only {[str(each) for each in findings]}"


def test_every_refusal_has_its_defects() -> None:
    about_python = {"structs", "unused"}
    assert {each.name for each in DECLARED} == {each.stem for each in DEFECTS} | about_python


def test_what_only_looks_like_a_defect_is_not_refused(examination: Examination) -> None:
    found = examine(examination, list(all_queries(load_directory(HARMLESS))))
    assert [str(each) for findings in found.values() for each in findings] == []


def test_the_examples_of_a_refusal_are_refused_and_what_to_write_instead_is_not(
    examination: Examination, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robbed_indexes, "FEW_ROWS", 0)
    for kind in ("wrong", "right"):
        (tmp_path / kind).mkdir()
        for each in DECLARED:
            text = getattr(each, kind)
            if text.startswith("-- name") and each.name != "unused":
                (tmp_path / kind / f"{each.name}.sql").write_text(text)
    wrong = examine(examination, list(all_queries(load_directory(tmp_path / "wrong"))))
    for name, findings in wrong.items():
        assert name.partition(".")[0] in {each.rule for each in findings}
    right = examine(examination, list(all_queries(load_directory(tmp_path / "right"))))
    assert [str(each) for findings in right.values() for each in findings] == []


# In both databases of the scratch server, for plans too.
BEHIND = (
    "CREATE VIEW clonedb.check_voices AS "
    "SELECT v.id, v.user_id, v.model_path, v.is_active FROM clonedb.voice_models AS v",
    "GRANT SELECT, UPDATE ON clonedb.check_voices TO clonedb_app",
    "CREATE FUNCTION clonedb.check_paths(p_user uuid) RETURNS SETOF text LANGUAGE sql STABLE "
    "SECURITY DEFINER SET search_path = '' "
    "AS 'SELECT v.model_path FROM clonedb.voice_models AS v WHERE v.user_id = p_user'",
    "ALTER FUNCTION clonedb.check_paths(uuid) OWNER TO clonedb_owner",
    "GRANT EXECUTE ON FUNCTION clonedb.check_paths(uuid) TO clonedb_app",
    "CREATE FUNCTION clonedb.check_inlined() RETURNS SETOF text LANGUAGE sql STABLE "
    "AS 'SELECT v.model_path FROM clonedb.voice_models AS v'",
)
GONE = (
    "DROP VIEW clonedb.check_voices",
    "DROP FUNCTION clonedb.check_paths(uuid)",
    "DROP FUNCTION clonedb.check_inlined()",
)
THROUGH = """
-- name: strangers(user_id)
-- The whole of a view.
SELECT s.model_path FROM clonedb.check_voices AS s WHERE :user_id::uuid IS NOT NULL;

-- name: leaks(user_id)
-- A view with its owner's rights, so that no policy hides a row.
SELECT s.model_path FROM clonedb.check_voices AS s WHERE s.user_id = :user_id::uuid;

-- name: stale_caches(user_id, id)
-- A view is written through.
UPDATE clonedb.check_voices AS s
SET is_active = false
WHERE s.user_id = :user_id::uuid AND s.id = :id::uuid;

-- name: leaks_of_a_function(user_id, friend)
-- A function with its owner's rights is asked for somebody else.
SELECT p.path FROM clonedb.check_paths(:friend::uuid) AS p (path) WHERE :user_id::uuid IS NOT NULL;

-- name: strangers_in_a_function(user_id)
-- A function that the server puts into the plan.
SELECT p.path FROM clonedb.check_inlined() AS p (path) WHERE :user_id::uuid IS NOT NULL;
"""


@pytest.fixture
def behind(scratch: Scratch) -> Iterator[Callable[[str], Found]]:
    def run(statements: tuple[str, ...]) -> None:
        for database in ("clonedb", PRODUCTION):
            with scratch.connect(database=database) as connection:
                for statement in statements:
                    connection.execute(statement.encode())

    def found(folder: str) -> Found:
        with Examination(scratch) as examination:
            return examine(examination, list(all_queries(load_directory(Path(folder)))))

    # No other process of the test run may be making them.
    with scratch.connect() as lock:
        lock.execute(b"SELECT pg_advisory_lock(1)")
        run(BEHIND)
        try:
            yield found
        finally:
            run(GONE)


def test_what_is_behind_a_view_or_a_function_is_found(
    behind: Callable[[str], Found], tmp_path: Path
) -> None:
    (tmp_path / "through.sql").write_text(THROUGH)
    for name, findings in behind(str(tmp_path)).items():
        query = name.partition(".")[2]
        rules = {each.rule for each in findings}
        assert any(query.startswith(rule) for rule in rules), (name, findings)
