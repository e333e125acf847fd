"""Each rule finds the change that it is for, and nothing where nothing has changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from project import Project

from clonedb.review.risk import Ranked
from clonedb.review.rules import RULES
from clonedb.review.run import review

SQL = "sql/things.sql"
LEDGER = "sql/ledger/things/"
DUMP = "docs/schema.sql"
REHEARSED = "sql/ledger/migrations/"

Change = Callable[[Project], object]


def risks(project: Project, *, base: str = "base") -> list[Ranked]:
    with review(project.folder, base) as found:
        return found.ranked


def shown(found: list[Ranked]) -> str:
    return "\n".join(
        f"{risk.severity.word} {rule.name} {risk.place} {risk.subject}: {risk.what}"
        for rule, risk in found
    )


def add_query(project: Project, header: str, ledger: str = "") -> None:
    with (project.folder / SQL).open("a") as file:
        file.write(f"\n-- name: find_first(user_id)^\n-- The first.\n{header}SELECT t.id\n")
        file.write("FROM clonedb.things AS t\nWHERE t.user_id = :user_id::uuid\nORDER BY t.id;\n")
    text = (project.folder / LEDGER / "find_by_id.txt").read_text()
    project.write(LEDGER + "find_first.txt", text.replace("find_by_id", "find_first") + ledger)
    project.edit(
        "shop/things.py",
        "class ThingRepository:",
        "class ThingRepository:\n    def find_first(self):\n"
        "        return queries.things.find_first\n",
    )
    project.edit(
        "tests/test_things.py", "things.rename", "things.find_first() or await things.rename"
    )


def add_migration(project: Project, name: str, facts: str, header: str = "") -> None:
    header = header or "-- Does it.\n-- phase: before deploy\n-- locks: none\n"
    project.write(f"migrations/{name}.sql", f"{header}\nALTER TABLE clonedb.things ADD a int;\n")
    project.write(f"migrations/{name}.rollback.sql", "ALTER TABLE clonedb.things DROP a;\n")
    text = (project.folder / REHEARSED / "0001_create_things.txt").read_text()
    text = text.replace("0001_create_things", name)
    nothing = "    nothing that anybody waits for\n"
    project.write(f"{REHEARSED}{name}.txt", text.replace(nothing, facts or nothing, 1))


def edits(*changes: tuple[str, str, str]) -> Change:
    def change(project: Project) -> None:
        for path, old, new in changes:
            project.edit(path, old, new)

    return change


LOCKED = "    locks      ACCESS EXCLUSIVE on things, from line 5: blocks reads and writes\n"
CLAIMED = "-- Does it.\n-- phase: before deploy\n-- locks: ACCESS EXCLUSIVE on things\n"

# What is changed, and every risk that is found in it, as "severity rule subject: what".
PLANTED: dict[str, tuple[Change, set[str]]] = {
    "works across users": (
        edits((SQL, "-- One thing of a user.\n", "-- One thing of a user.\n-- users: all\n")),
        {"low strangers things.find_by_id: says users: all now; the statement is the same"},
    ),
    "works across users with another statement": (
        edits(
            (SQL, "-- One thing of a user.\n", "-- One thing of a user.\n-- users: all\n"),
            (SQL, "WHERE t.user_id = :user_id::uuid\n    AND t.id = ", "WHERE t.user_id = :user_id::uuid AND t.id = "),
        ),
        {"high strangers things.find_by_id: works across users now: its header says users: all"},
    ),
    "no longer proved to be one user's": (
        edits((LEDGER + "find_by_id.txt", "    one user's rows, by the plan without policies\n", "")),
        {"high strangers things.find_by_id: is no longer proved to give one user's rows"},
    ),
    "no longer run as two people": (
        edits((LEDGER + "rename.txt", "    run as one of two people: nothing of the other's came back\n", "")),
        {"medium strangers things.rename: was run as one of two people, and is no longer"},
    ),
    "the key is no longer in the index's condition": (
        edits((LEDGER + "find_by_id.txt", "cond: (t.user_id = $1) AND (t.id = $2)", "cond: t.id = $2\n          filter: t.user_id = $1")),
        {
            "high strangers things.find_by_id: user_id reached things by an index, and does not (plain)",
            "medium changed_plans things.find_by_id: has another plan though its text is the same (plain)",
        },
    ),
    "a policy is changed": (
        edits((DUMP, "USING (user_id = me())", "USING (true)")),
        {"high protection things own_rows: a policy is changed"},
    ),
    "row-level security is off": (
        edits((DUMP, "\n--\n-- Name: things; Type: ROW SECURITY; Schema: clonedb; Owner: clonedb_owner\n--\n", "")),
        {"high protection things: has row-level security no more", "high protection things own_rows: a policy is changed"},
    ),
    "row-level security is not forced": (
        edits((DUMP, "ALTER TABLE ONLY clonedb.things FORCE ROW LEVEL SECURITY;\n", "")),
        {"high protection things: does not force row-level security on its owner any more"},
    ),
    "a user's table without policies": (
        edits((DUMP, "\n--\n-- Name: things own_rows;", "\n--\n-- Name: notes; Type: TABLE; Schema: clonedb; Owner: clonedb_owner\n--\n\nCREATE TABLE clonedb.notes (\n    user_id uuid NOT NULL\n);\n\n\n--\n-- Name: things own_rows;")),
        {"high protection notes: is a user's table without policies"},
    ),
    "a function with its owner's rights is changed": (
        edits(
            (DUMP, "SELECT count(*) FROM clonedb.things $$", "SELECT count(*) FROM clonedb.users $$"),
            (LEDGER + "count_all.txt", "locks\n", "calls\n    clonedb.count_things(), with the rights of clonedb_owner\n\nlocks\n"),
        ),
        {
            "high functions count_things(): is changed, and runs with its owner's rights; called by things.count_all",
            "high rights things.count_all: calls clonedb.count_things(), with the rights of clonedb_owner, which it did not",
        },
    ),
    "a function gets its owner's rights": (
        edits((DUMP, "LANGUAGE sql IMMUTABLE\n", "LANGUAGE sql IMMUTABLE SECURITY DEFINER\n")),
        {"high functions is_short(text): runs with its owner's rights now; no query calls it"},
    ),
    "a plain function is changed": (
        edits((DUMP, "char_length(p_text) < 10", "char_length(p_text) < 20")),
        {"medium functions is_short(text): is changed; no query calls it"},
    ),
    "rights are granted": (
        edits(
            ("docs/grants.md", "| S u | S I U D | s |", "| S u D | S I U D | S |"),
            ("docs/grants.md", "| owner |  | x |", "| owner | x | x |"),
        ),
        {
            "high grants things: app: S u before, S u D now",
            "high grants things: readonly: s before, S now",
            "high grants count_things(): app: nothing before, x now",
        },
    ),
    "rights of columns are granted": (
        edits(("docs/grants.md", "readonly, SELECT: id", "readonly, SELECT: id, label")),
        {"high grants things: readonly, SELECT: id before, id, label now"},
    ),
    "a login may no longer run it": (
        edits((LEDGER + "find_by_id.txt", "clonedb_app, clonedb_worker, clonedb_dba", "clonedb_worker, clonedb_dba\n    not clonedb_app, which lacks SELECT on things (label)")),
        {"high rights things.find_by_id: may no longer be run by clonedb_app, which lacks SELECT on things (label)"},
    ),
    "a query needs another right": (
        edits((LEDGER + "find_by_id.txt", "\nlocks\n", "\nwrites\n    things, deletes rows\n\nlocks\n")),
        {"medium rights things.find_by_id: needs DELETE on things, which it did not"},
    ),
    "a query does not prepare": (
        lambda project: project.write(
            LEDGER + "find_by_id.txt",
            'things.find_by_id\n\nquery     0\nschema    1a2b\n\ndoes not prepare\n    column "label" does not exist\n',
        ),
        {'high rights things.find_by_id: does not prepare: column "label" does not exist'},
    ),
    "personal data is read": (
        edits((LEDGER + "find_by_id.txt", "things: id, label, user_id", "things: id, label, user_id, words")),
        {"medium personal_columns things.find_by_id: reads things.words (content)"},
    ),
    "personal data is read across users": (
        edits((LEDGER + "count_all.txt", "things: its rows", "things: words")),
        {"high personal_columns things.count_all: reads things.words (content)"},
    ),
    "a migration blocks readers": (
        lambda project: add_migration(project, "0002_add", LOCKED, CLAIMED),
        {"high migration_locks 0002_add: takes ACCESS EXCLUSIVE on things in line 5, which blocks reads and writes: 4 queries would wait"},
    ),
    "a migration works on all rows": (
        lambda project: add_migration(
            project,
            "0002_add",
            "    locks      SHARE on things, from line 5: blocks writes\n    rewrites   things\n    validates  things_a of things\n    builds     things_by_a of things\n    reads all  kinds\n",
            "-- Does it.\n-- phase: before deploy\n-- locks: SHARE on things\n-- rewrites: things\n-- validates: things_a of things\n-- builds: things_by_a of things\n",
        ),
        {
            "medium migration_locks 0002_add: takes SHARE on things in line 5, which blocks writes: 1 query would wait",
            "high migration_locks 0002_add: writes things (2,000,000 rows) anew",
            "medium migration_locks 0002_add: compares all 2,000,000 rows of things for things_a",
            "medium migration_locks 0002_add: builds an index over all 2,000,000 rows of things for things_by_a",
            "low migration_locks 0002_add: reads all 12 rows of kinds",
        },
    ),
    "a migration is not what its header claims": (
        lambda project: add_migration(project, "0002_add", "    rewrites   kinds\n", CLAIMED + "-- rewrites: kinds\n"),
        {
            "high migration_claims 0002_add: claims `-- locks: ACCESS EXCLUSIVE on things`, and was measured as `-- locks: none`",
            "high migration_locks 0002_add: writes kinds (12 rows) anew",
        },
    ),
    "a migration without claims": (
        lambda project: add_migration(project, "0002_add", "", "-- Does it.\n"),
        {
            "medium migration_claims 0002_add: says no `-- phase:` in its header",
            "medium migration_claims 0002_add: says no `-- locks:` in its header",
        },
    ),
    "a migration was not rehearsed": (
        lambda project: (add_migration(project, "0002_add", ""), project.remove(REHEARSED + "0002_add.txt")),
        {"medium migration_locks 0002_add: was not rehearsed: what it locks and how long is unknown"},
    ),
    "a migration is edited": (
        edits(("migrations/0001_create_things.sql", "label text NOT NULL", "label text")),
        {"high edited_migrations 0001_create_things: is edited: a database that has applied it refuses the next migration"},
    ),
    "a migration is removed": (
        lambda project: [project.remove(f"migrations/0001_create_things{end}") for end in (".sql", ".rollback.sql")],
        {
            "high edited_migrations 0001_create_things: is gone; databases have applied it",
            "medium edited_migrations 0001_create_things: its rollback is removed",
        },
    ),
    "a migration out of order, with no way back": (
        lambda project: (add_migration(project, "0000_add", ""), project.remove("migrations/0000_add.rollback.sql")),
        {
            "medium edited_migrations 0000_add: goes before 0001_create_things, which databases have applied already",
            "high edited_migrations 0000_add: has no rollback",
        },
    ),
    "an index that plans use is dropped": (
        edits((DUMP, "-- Name: things_by_label; Type: INDEX", "-- Name: things_by_words; Type: INDEX")),
        {"high lost_indexes things_by_label: is dropped, and used by things.find_many"},
    ),
    "an index that no plan uses is dropped": (
        edits((DUMP, "-- Name: things_unused; Type: INDEX", "-- Name: things_other; Type: INDEX")),
        {"low lost_indexes things_unused: is dropped; no plan used it"},
    ),
    "an index is another": (
        edits((DUMP, "btree (user_id, label)", "btree (label, user_id)")),
        {"medium lost_indexes things_by_label: is another, and used by things.find_many"},
    ),
    "a large table is read as a whole": (
        edits((LEDGER + "find_many.txt", "Bitmap Heap Scan on things AS t\n              Bitmap Index Scan things_by_label\n                cond: (t.user_id = $1) AND (t.label = $2)", "Seq Scan on things AS t\n              filter: (t.user_id = $1) AND (t.label = $2)")),
        {
            "high whole_scans things.find_many: reads things (2,000,000 rows) from end to end (filter label)",
            "high strangers things.find_many: user_id reached things by an index, and does not (filter label)",
            "medium changed_plans things.find_many: has another plan though its text is the same (filter label)",
        },
    ),
    "a small table is read as a whole": (
        edits((LEDGER + "find_many.txt", "    Limit\n          Index Scan", "    Limit\n          Seq Scan on kinds\n          Index Scan")),
        {"medium changed_plans things.find_many: has another plan though its text is the same (plain)"},
    ),
    "a new query reads a large table, as its header says": (
        lambda project: (
            add_query(project, "-- plan: scan things\n"),
            project.edit(LEDGER + "find_first.txt", "Index Scan things_pkey on", "Seq Scan on"),
        ),
        {
            "medium whole_scans things.find_first: reads things (2,000,000 rows) from end to end (plain), as its header says",
            "medium header_claims things.find_first: is allowed to read things as a whole",
        },
    ),
    "a result may be NULL": (
        edits((LEDGER + "find_by_id.txt", "label  text  never null", "label  text")),
        {"high results things.find_by_id: may give NULL as label, which it never did"},
    ),
    "a result has another type": (
        edits((LEDGER + "find_by_id.txt", "label  text  never null", "label  citext  never null")),
        {"high results things.find_by_id: gives label as citext, not text"},
    ),
    "a result is gone": (
        edits((LEDGER + "find_by_id.txt", "    label  text  never null\n", "")),
        {"high results things.find_by_id: gives label no more"},
    ),
    "results change places": (
        edits((LEDGER + "find_by_id.txt", "    id     uuid  never null\n    label  text  never null\n", "    label  text  never null\n    id     uuid  never null\n")),
        {"high results things.find_by_id: gives its columns in another order; rows are read by position"},
    ),
    "a parameter has another type": (
        edits((LEDGER + "find_many.txt", "limit    bigint", "limit    integer")),
        {"medium results things.find_many: takes limit as integer, not bigint"},
    ),
    "caches are made old no more": (
        edits((LEDGER + "rename.txt", "    cache_changes, inserts: caches, user_id\n", "")),
        {"high caches things.rename: made caches old, and does no more"},
    ),
    "caches are left as they are": (
        edits((LEDGER + "find_by_id.txt", "\nlocks\n", "\nwrites\n    things, updates: label\n\nlocks\n")),
        {
            "high caches things.find_by_id: writes things.label, which caches are made from, and leaves them be",
            "medium rights things.find_by_id: needs UPDATE on things, which it did not",
        },
    ),
    "caches are made old in another way": (
        edits((SQL, "ARRAY['answers']", "ARRAY['searches']")),
        {"medium caches things.rename: makes caches old in another way"},
    ),
    "what caches are made from is declared anew": (
        edits(("sql/check/caches.toml", '"label"', '"label", "words"')),
        {"medium caches sql/check/caches.toml: what caches are made from is declared anew"},
    ),
    "a removed query is still called": (
        lambda project: project.remove_query(SQL, "rename"),
        {"high removed_queries things.rename: is gone, and still called"},
    ),
    "a removed query is called no more": (
        lambda project: (
            project.remove_query(SQL, "rename"),
            project.edit("shop/things.py", "queries.things.rename", "None"),
        ),
        {"low removed_queries things.rename: is gone; nothing calls it"},
    ),
    "the plan of another text": (
        edits(
            (SQL, "ORDER BY t.id\n", "ORDER BY t.id DESC\n"),
            (LEDGER + "find_many.txt", "Index Scan things_pkey", "Index Scan backward things_pkey"),
        ),
        {"low changed_plans things.find_many: has another plan (plain)"},
    ),
    "a header promises less": (
        edits(
            (SQL, "-- timeout: 250 ms\n-- plan: index things_pkey\n-- rows <= 10\n", "-- lane: pool\n-- timeout: 2 s\n-- rows <= 1,000\n")
        ),
        {
            "medium header_claims things.find_by_id: promises index things_pkey no more",
            "medium header_claims things.find_by_id: promised rows <= 10, and now rows <= 1,000",
            "medium header_claims things.find_by_id: may take longer: 250 ms before, 2 s now",
            "low header_claims things.find_by_id: lane: nothing before, pool now",
        },
    ),
    "a query without a test": (
        lambda project: (
            add_query(project, ""),
            project.edit("tests/test_things.py", "things.find_first() or await things.rename", "things.rename"),
        ),
        {"medium untested things.find_first: no test calls find_first"},
    ),
    "a query without a caller": (
        lambda project: (
            add_query(project, ""),
            project.edit("shop/things.py", "queries.things.find_first", "None"),
        ),
        {"medium untested things.find_first: nothing in the package calls it"},
    ),
    "production is said to be larger": (
        edits(("sql/check/sizes.toml", "2_000_000", "9_000_000")),
        {"low sizes sql/check/sizes.toml: things 2,000,000 before, 9,000,000 rows now"},
    ),
}  # fmt: skip

# The same, where the ledger was not written after the change.
STALE: dict[str, tuple[Change, set[str]]] = {
    "a text that the ledger does not speak of": (
        edits((SQL, "AND t.id = :id::uuid;", "AND t.id <> :id::uuid;")),
        {"high stale_ledger sql/things.sql: now: things.find_by_id is not the text that the ledger speaks of"},
    ),
    "a query that the ledger does not know": (
        lambda project: project.remove(LEDGER + "find_by_id.txt"),
        {"high stale_ledger sql/things.sql: now: things.find_by_id is not in the ledger"},
    ),
    "a file of the ledger that is none": (
        lambda project: project.write(LEDGER + "find_by_id.txt", "garbage"),
        {
            "high stale_ledger sql/ledger/things/find_by_id.txt: now: this is no file of the ledger",
            "high stale_ledger sql/things.sql: now: things.find_by_id is not in the ledger",
        },
    ),
    "a file of queries that is none": (
        lambda project: project.write("sql/other.sql", "-- name: a()\n-- It.\nSELECT 'endless;\n"),
        {"high stale_ledger sql/other.sql: now: the string that begins here has no end: close its quote"},
    ),
    "a file that is not UTF-8": (
        lambda project: (project.folder / "sql" / "other.sql").write_bytes(b"-- caf\xe9\n"),
        {"high stale_ledger sql/other.sql: now: this is not UTF-8: save the file as UTF-8"},
    ),
    "migrations that the ledger does not know": (
        lambda project: project.edit("sql/ledger/made_from.txt", "migrations    ", "migrations    a"),
        {"high stale_ledger sql/ledger/made_from.txt: now: migrations have changed since the ledger was written"},
    ),
    "a migration that was rehearsed otherwise": (
        lambda project: (add_migration(project, "0002_add", ""), project.edit(REHEARSED + "0002_add.txt", "file       ", "file       a")),
        {
            "high stale_ledger sql/ledger/made_from.txt: now: migrations have changed since the ledger was written",
            "high migration_locks 0002_add: is not the text that was rehearsed: run clonedb check",
        },
    ),
    "Python that is none": (
        lambda project: project.write("shop/broken.py", "def ("),
        {"high stale_ledger shop/broken.py: callers are unknown: this is not Python"},
    ),
    "tests that are no Python": (
        lambda project: project.write("tests/test_broken.py", "def ("),
        {"high stale_ledger tests/test_broken.py: callers are unknown: this is not Python"},
    ),
    "sizes that are no TOML": (
        lambda project: project.write("sql/check/sizes.toml", "[rows]\nusers = many\n"),
        {
            "high stale_ledger sql/check/sizes.toml: now: Invalid value (at line 2, column 9)",
        },
    ),
    "sizes that are none": (
        lambda project: project.write("sql/check/sizes.toml", "rows = 5\n"),
        {
            "high stale_ledger sql/check/sizes.toml: now: Expected `object`, got `int` - at `$.rows`",
        },
    ),
    "caches that are made of no columns": (
        lambda project: project.write("sql/check/caches.toml", "[things]\ncolumns = 'name'\ncaches = []\n"),
        {
            "high stale_ledger sql/check/caches.toml: now: Expected `array`, got `str` - at `$[...].columns`",
            "medium caches sql/check/caches.toml: what caches are made from is declared anew",
        },
    ),
    "no schema": (
        lambda project: project.remove(DUMP),
        {"medium stale_ledger docs/schema.sql: now: it is missing, so functions, policies and indexes are not compared"},
    ),
}  # fmt: skip


def test_nothing_is_found_where_nothing_has_changed(project: Project) -> None:
    assert shown(risks(project)) == ""


@pytest.mark.parametrize("name", PLANTED)
def test_a_rule_finds_what_it_is_for_and_no_other_does(project: Project, name: str) -> None:
    change, expected = PLANTED[name]
    change(project)
    project.seal()
    found = risks(project)
    assert {_line(each) for each in found} == expected
    severities = [each.risk.severity for each in found]
    assert severities == sorted(severities, reverse=True)


@pytest.mark.parametrize("name", STALE)
def test_a_ledger_of_other_files_is_said_first(project: Project, name: str) -> None:
    change, expected = STALE[name]
    change(project)
    assert {_line(each) for each in risks(project)} == expected


def test_a_ledger_that_was_stale_before_is_said_too(project: Project) -> None:
    project.edit(SQL, "t.id = :id::uuid;", "t.id <> :id::uuid;")
    project.commit("Without clonedb check")
    project.edit(SQL, "t.id <> :id::uuid;", "t.id = :id::uuid;")
    (found,) = risks(project, base="main")
    assert _line(found) == (
        "medium stale_ledger sql/things.sql: before the change: things.find_by_id is not the text "
        "that the ledger speaks of"
    )


def test_every_rule_has_a_planted_change() -> None:
    lines = [line for _, expected in (PLANTED | STALE).values() for line in expected]
    assert {line.split()[1] for line in lines} == {rule.name for rule in RULES}


def _line(found: Ranked) -> str:
    rule, risk = found
    return f"{risk.severity.word} {rule.name} {risk.subject}: {risk.what}"
