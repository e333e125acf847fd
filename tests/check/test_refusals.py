"""Each refusal, by a defect that is planted for it: where it is, what is wrong, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from clonedb.check.python_code import Mention, PackageCode
from clonedb.check.refusals import robbed_indexes

if TYPE_CHECKING:
    from conftest import Planting

    from clonedb.check.examine import Examination

HEADER = "-- name: planted(user_id{more})\n-- Does something.\n{tags}"


def query(body: str, *parameters: str, tags: str = "") -> str:
    """A file of one query; its SQL begins on line 3 (4 with a tag, and so on)."""
    more = "".join(f", {each}" for each in parameters)
    return HEADER.format(more=more, tags=tags) + body


OWN = "WHERE s.user_id = :user_id::uuid"
SESSIONS = f"SELECT s.id\nFROM clonedb.conversation_sessions AS s\n{OWN}"

DEFECTS = {
    "a table that does not exist": (
        query("SELECT s.id\nFROM clonedb.sesions AS s\nWHERE s.user_id = :user_id::uuid"),
        ["4: PostgreSQL does not prepare it: relation \"clonedb.sesions\" does not exist"],
    ),
    "a syntax error": (
        query(f"{SESSIONS}\nGROUP s.id"),
        ["6: PostgreSQL does not prepare it: syntax error at or near \"s\""],
    ),
    "SELECT *": (
        query(f"SELECT s.*\nFROM clonedb.conversation_sessions AS s\n{OWN}"),
        ["3: * gives whatever columns the table has"],
    ),
    "RETURNING *": (
        query("DELETE FROM clonedb.face_models AS s\nWHERE s.user_id = :user_id::uuid\nRETURNING\n    *"),
        ["6: * gives whatever columns the table has"],
    ),
    "a column that is not qualified": (
        query(
            "SELECT\n    s.id,\n    state\nFROM clonedb.conversation_sessions AS s\n"
            "INNER JOIN clonedb.voice_models AS v\n    ON v.user_id = s.user_id AND v.id = "
            f"s.voice_model_id\n{OWN}"
        ),
        ["5: the column state is not qualified, and 2 relations are in sight"],
    ),
    "a column of the query around, not qualified": (
        query(
            "SELECT\n    s.id,\n    (SELECT count(*) FROM clonedb.face_models AS f\n"
            "    WHERE f.user_id = s.user_id AND f.id = face_model_id) AS faces\n"
            f"FROM clonedb.conversation_sessions AS s\n{OWN}"
        ),
        ["6: the column face_model_id is not qualified, and 2 relations are in sight"],
    ),
    "a narrow parameter in a comparison": (
        query(f"{SESSIONS}\n    AND s.total_latency_ms > :least::integer", "least"),
        [
            "6: :least is integer, narrower than conversation_sessions.total_latency_ms, which is "
            "bigint"
        ],
    ),
    "a narrow parameter in an array": (
        query(f"{SESSIONS}\n    AND s.total_latency_ms = ANY(:these::integer[])", "these"),
        ["6: :these is integer, narrower than conversation_sessions.total_latency_ms"],
    ),
    "a narrow parameter behind CASE": (
        query(
            "UPDATE clonedb.conversation_sessions AS s\nSET total_latency_ms = CASE\n"
            "    WHEN s.total_turns > 1 THEN :sum::integer\n    ELSE s.total_latency_ms\nEND\n" + OWN,
            "sum",
        ),
        ["5: :sum is integer, narrower than conversation_sessions.total_latency_ms"],
    ),
    "a text that is cut": (
        query(
            "UPDATE clonedb.conversation_sessions AS s\n"
            f"SET llm_provider = :provider::varchar(8)\n{OWN}",
            "provider",
        ),
        ["4: :provider is character varying of a length, narrower than"],
    ),
    "a page whose order is not unique": (
        query(f"{SESSIONS}\nORDER BY s.started_at DESC\nLIMIT :limit::bigint", "limit"),
        ["6: rows that are equal in its order come in any order"],
    ),
    "IS NULL OR": (
        query(f"{SESSIONS}\n    AND (:state::text IS NULL OR s.state = :state::text)", "state"),
        ["6: a parameter that is NULL for 'all' (IS NULL OR), or else switches"],
    ),
    "COALESCE in a predicate": (
        query(f"{SESSIONS}\n    AND s.started_at < coalesce(:before::timestamptz, now())", "before"),
        ["6: COALESCE in a predicate keeps it from an index"],
    ),
    "a predicate that row-level security robs of its index": (
        "-- name: planted(words)\n-- Finds.\nSELECT d.id\nFROM clonedb.knowledge_documents AS d\n"
        "WHERE d.deleted_at IS NULL\n    AND d.search @@ plainto_tsquery('simple', :words::text)",
        ["6: under row-level security the predicate on knowledge_documents.search loses its index"],
    ),
    "a plan without the index that its tag names": (
        query(
            f"{SESSIONS}\n    AND s.state = :state::text",
            "state",
            tags="-- plan: index conversation_sessions_open\n",
        ),
        [
            "1: plan: index conversation_sessions_open, but plain uses "
            "conversation_sessions_"
        ],
    ),
    "more rows than its tag allows": (
        query(SESSIONS, tags="-- rows <= 10\n"),
        ["1: rows <= 10, but plain is estimated to read 50 rows of conversation_sessions"],
    ),
    "a large table read from end to end": (
        "-- name: planted(title)\n-- Finds.\n-- users: all\nSELECT d.id\n"
        "FROM clonedb.knowledge_documents AS d\nWHERE d.title = :title::text",
        ["1: plain reads knowledge_documents (5,000,000 rows) from end to end"],
    ),
    "a scan that is promised and not done": (
        query(SESSIONS, tags="-- plan: scan face_models\n"),
        ["1: plan: scan face_models, which no plan does any more"],
    ),
    "work across users that is not said": (
        "-- name: planted(state)\n-- Finds.\nSELECT s.id\nFROM clonedb.conversation_sessions AS s\n"
        "WHERE s.ended_at IS NULL\n    AND s.user_id > :state::uuid",
        ["1: conversation_sessions is read across users (plain)"],
    ),
    "work across users that is said and not done": (
        query(SESSIONS, tags="-- users: all\n"),
        ["1: users: all, but every table it reads is bound to one user"],
    ),
    "a join that the user's key does not reach": (
        query(
            "SELECT\n    s.id,\n    v.model_path\nFROM clonedb.conversation_sessions AS s\n"
            f"INNER JOIN clonedb.voice_models AS v ON v.id = s.voice_model_id\n{OWN}"
        ),
        ["1: :user_id does not reach voice_models.user_id (plain)"],
    ),
    "another person's row": (
        query(
            "SELECT\n    s.id,\n    s.voice_model_id\nFROM clonedb.conversation_sessions AS s\n"
            "WHERE s.id = :id::uuid\n    AND :user_id::uuid IS NOT NULL",
            "id",
        ),
        ["1: asked for one user, it shows another's rows where no policy stops it (plain)"],
    ),
    "a change of another person's row": (
        query(
            "UPDATE clonedb.conversation_sessions AS s\nSET total_turns = 0\n"
            "WHERE s.id = :id::uuid\n    AND :user_id::uuid IS NOT NULL",
            "id",
        ),
        ["1: asked for one user, it changes another's rows where no policy stops it (plain)"],
    ),
    "a document that changes under the caches": (
        query(
            "UPDATE clonedb.knowledge_documents AS d\nSET title = :title::text\n"
            "WHERE d.user_id = :user_id::uuid\n    AND d.id = :id::uuid",
            "id",
            "title",
        ),
        [
            "1: it changes what caches keep of knowledge_documents and leaves vector_search, "
            "llm_response of the caches as they are"
        ],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_found_where_it_is(
    plant: Planting, defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, expected = DEFECTS[defect]
    monkeypatch.setattr(robbed_indexes, "FEW_ROWS", 0)
    found = [f"{each.line}: {each.what}" for each in plant(text)]
    for line in expected:
        assert any(each.startswith(line) for each in found), "\n".join(found)
    for finding in plant(text):
        assert str(finding).startswith(f"sql/planted.sql:{finding.line}: planted.planted: ")
        assert finding.remedy


GOOD = [
    query(f"{SESSIONS}\nORDER BY s.started_at DESC, s.id DESC\nLIMIT :limit::bigint", "limit"),
    # '%' and a colon in strings, an apostrophe in a comment, a slice, an operator of jsonb
    query(
        "SELECT\n    s.id,  -- the session's\n    (ARRAY['a', '%'])[1 : 2] AS slice,\n"
        "    $$it's :fine$$ AS text,\n    '{\"a\": 1}'::jsonb ? 'a' AS has\n"
        f"FROM clonedb.conversation_sessions AS s\n{OWN}"
    ),
    query(
        "SELECT count(*) AS n\nFROM clonedb.conversation_sessions AS s\n"
        f"{OWN}\n    AND s.total_latency_ms > :least::bigint",
        "least",
    ),
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_what_is_right_is_not_refused(plant: Planting, text: str) -> None:
    assert [str(each) for each in plant(text)] == []


# What Python makes of rows.

TWO = query(
    "SELECT\n    s.id,\n    s.ended_at\nFROM clonedb.conversation_sessions AS s\n" + OWN
)  # fmt: skip


def row(**fields: object) -> type[msgspec.Struct]:
    return msgspec.defstruct("Row", list(fields.items()))


@dataclass(frozen=True)
class Planted(Mention):
    """A mention whose Struct is not looked for in the package."""

    kind: type[msgspec.Struct] | None = None

    @property
    def path(self) -> str:
        return "clonedb/planted.py"

    def load_struct(self) -> object:
        return self.kind


def code_with(kind: type[msgspec.Struct], tmp_path: Path) -> PackageCode:
    empty = tmp_path / "package"
    empty.mkdir()
    code = PackageCode(empty)
    code.mentions = [Planted("planted", "planted", Path("x.py"), 7, "find", "Row", kind)]
    return code


from datetime import datetime  # noqa: E402
from uuid import UUID  # noqa: E402


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (row(id=UUID, ended_at=datetime | None), ""),
        (row(ended_at=datetime | None, id=UUID), "Row has ended_at as field 1, and the query gives id there"),
        (row(id=UUID), "Row lacks ended_at, which the query gives"),
        (
            row(id=UUID, ended_at=datetime | None, state=str),
            "Row has state, which the query does not give",
        ),
        (row(id=str, ended_at=datetime | None), "Row has id: str, and the query gives UUID"),
        (row(id=UUID, ended_at=datetime), "Row has ended_at as never None, and nothing proves that"),
        (row(id=UUID | None, ended_at=datetime | None), "Row has id as optional, and it is never NULL"),
    ],
)  # fmt: skip
def test_a_struct_that_is_not_its_query(
    plant: Planting, tmp_path: Path, kind: type[msgspec.Struct], complaint: str
) -> None:
    found = plant(TWO, code=code_with(kind, tmp_path))
    assert [each.what for each in found] == ([complaint] if complaint else [])
    assert [each.path for each in found] == ["clonedb/planted.py"] * len(found)


def test_a_query_that_nobody_calls_and_one_that_no_test_reaches(
    plant: Planting, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (found,) = plant(TWO, code=PackageCode(package))
    assert found.what == "nothing in the package calls it"


def test_callers_are_found_through_classes_that_share_their_methods(tmp_path: Path) -> None:
    (tmp_path / "caches.py").write_text(
        "class Table:\n"
        "    def get(self):\n"
        "        return self._scope.one(self._queries.get, self._entry)\n"
        "class Voices(Table):\n"
        "    _queries = queries.voices\n"
        "    _entry = Voice\n"
        "    def find(self):\n"
        "        return self.get()\n"
        "def direct(scope):\n"
        "    return scope.all(queries.voices.find_many, Voice)\n"
    )
    code = PackageCode(tmp_path)
    (get,) = code.callers("voices", "get")
    assert (get.function, get.struct) == ("get", "Voice")
    (many,) = code.callers("voices", "find_many")
    assert (many.function, many.struct, many.line) == ("direct", "Voice", 10)
    assert code.reached_from({"get"}) == {"get", "find"}


def test_the_two_people_grow_no_older(examination: Examination) -> None:
    """A scratch server is used for days, and what is found on it is the same on each of them."""
    caches = ("embedding", "vector_search", "llm_response", "audio_chunk")
    with examination.connect() as connection, connection.transaction(force_rollback=True):
        for table, column in (
            *((f"{cache}_cache", "expires_at") for cache in caches),
            ("cache_changes", "created_at"),
            ("cache_fill_leases", "expires_at"),
            ("object_uploads", "expires_at"),
        ):
            moved = connection.execute(
                f"UPDATE clonedb.{table} SET {column} = {column} - interval '1 year'".encode()
            )
            assert moved.rowcount >= 2, table
        trimmed = connection.execute(b"SELECT t.expired FROM clonedb.trim_caches(1000) AS t")
        assert trimmed.fetchall() == [(0,)] * 4
        for table in ("cache_changes", "cache_fill_leases"):
            left = connection.execute(f"SELECT count(*) FROM clonedb.{table}".encode()).fetchone()
            assert left is not None
            assert left[0] >= 2, table
