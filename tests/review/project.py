"""A small project in a git repository of its own, whose ledger is as `clonedb check` writes one."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from textwrap import dedent

from clonedb.check.hashes import files_hash, query_hash
from clonedb.check.migrations.rehearsal import migration_hash
from clonedb.query.file import parse_queries

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_AUTHOR_DATE": "2026-03-01T12:00:00Z",
    "GIT_COMMITTER_DATE": "2026-03-01T12:00:00Z",
}


class Project:
    """A checkout that a test edits; `seal` is what `clonedb check` does to hashes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=_ENVIRONMENT,
        )
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--no-verify", "-m", message)
        return self.git("rev-parse", "HEAD")

    def back(self) -> None:
        """As it was committed."""
        self.git("reset", "--quiet", "--hard")
        self.git("clean", "--quiet", "-fdx")

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"), encoding="utf-8")

    def edit(self, path: str, old: str, new: str) -> None:
        """Put a text in the place of another that is there."""
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{path} has no {old!r}"
        file.write_text(text.replace(old, new), encoding="utf-8")

    def remove(self, path: str) -> None:
        (self.folder / path).unlink()

    def remove_query(self, path: str, name: str) -> None:
        """Take a query out of its file, and its text out of the ledger."""
        file = self.folder / path
        parts = re.split(r"(?=^-- name: )", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        kept = [part for part in parts if not part.startswith(f"-- name: {name}(")]
        assert len(kept) == len(parts) - 1
        file.write_text("".join(kept), encoding="utf-8")
        (self.folder / "sql" / "ledger" / file.stem / f"{name}.txt").unlink(missing_ok=True)

    def seal(self) -> None:
        """Make every hash of the ledger that of the files beside it."""
        ledger = self.folder / "sql" / "ledger"
        for file in (self.folder / "sql").glob("*.sql"):
            text = file.read_text(encoding="utf-8")
            for query in parse_queries(text, module=file.stem, path=f"sql/{file.name}"):
                entry = ledger / f"{query.name.replace('.', '/')}.txt"
                if entry.exists():
                    _replace(entry, r"query     \w+", f"query     {query_hash(query)}")
        folder = self.folder / "migrations"
        forward = [each for each in folder.glob("*.sql") if ".rollback." not in each.name]
        made_from = f"migrations    {files_hash(forward)}"
        _replace(ledger / "made_from.txt", r"migrations    \w+", made_from)
        for file in forward:
            rehearsed = ledger / "migrations" / f"{file.stem}.txt"
            back = file.with_name(f"{file.stem}.rollback.sql")
            if rehearsed.exists():
                down = back.read_text(encoding="utf-8") if back.exists() else None
                digest = migration_hash(file.read_text(encoding="utf-8"), down)
                _replace(rehearsed, r"file       \w+", f"file       {digest}")


def _replace(file: Path, pattern: str, new: str) -> None:
    file.write_text(re.sub(pattern, new, file.read_text(encoding="utf-8"), count=1))


def shop(folder: Path) -> Project:
    """A shop of things: a table of users' rows, four queries, their callers and tests."""
    project = Project(folder)
    for path, text in SHOP.items():
        project.write(path, text)
    project.seal()
    project.commit("The shop opens")
    project.git("tag", "base")
    return project


SHOP = {
    "sql/things.sql": """
        -- Things of users.

        -- name: count_all()$
        -- How many things there are, of everybody.
        -- users: all
        -- plan: scan things
        SELECT count(*)
        FROM clonedb.things AS t;

        -- name: find_by_id(user_id, id)^
        -- One thing of a user.
        -- timeout: 250 ms
        -- plan: index things_pkey
        -- rows <= 10
        SELECT
            t.id,
            t.label
        FROM clonedb.things AS t
        WHERE t.user_id = :user_id::uuid
            AND t.id = :id::uuid;

        -- name: find_many(user_id, label, limit)
        -- A page of a user's things.
        SELECT
            t.id,
            t.label
        FROM clonedb.things AS t
        WHERE t.user_id = :user_id::uuid
            AND t.label = :label::text  -- filter: label
        ORDER BY t.id
        LIMIT :limit::bigint;

        -- name: rename(user_id, id, label)!
        -- Gives a thing another label, and makes caches old.
        WITH renamed AS (
            UPDATE clonedb.things AS t
            SET label = :label::text
            WHERE t.user_id = :user_id::uuid
                AND t.id = :id::uuid
            RETURNING t.user_id
        )
        INSERT INTO clonedb.cache_changes (user_id, caches)
        SELECT
            renamed.user_id,
            ARRAY['answers']
        FROM renamed;
        """,
    "sql/check/caches.toml": """
        [things]
        columns = ["label"]
        caches = ["answers"]
        """,
    "sql/check/sizes.toml": """
        [rows]
        other_users_tables = 1_000_000
        other_tables = 1_000
        things = 2_000_000
        kinds = 12
        """,
    "sql/ledger/made_from.txt": """
        Written by `clonedb check`, and compared by `clonedb check --offline`.

        PostgreSQL    18
        migrations    0
        sizes         0
        """,
    "sql/ledger/migrations/0001_create_things.txt": """
        0001_create_things

        file       0
        phase      before deploy
        runs in    one transaction
        rollback   gives back the schema, and can be followed by the same again

        applied
            nothing that anybody waits for

        rolled back
            nothing that anybody waits for
        """,
    "sql/ledger/things/count_all.txt": """
        things.count_all

        query     0
        schema    1a2b

        returns
            count  bigint  never null

        reads
            things: its rows

        locks
            ACCESS SHARE   things

        may be run by
            clonedb_worker, clonedb_dba
            not clonedb_app, which lacks EXECUTE on count_things()

        users
            works across users where it is given no :user_id

        plan
            plain, as clonedb_worker
                Aggregate
                  Seq Scan on things AS t
        """,
    "sql/ledger/things/find_by_id.txt": """
        things.find_by_id

        query     0
        schema    1a2b

        takes
            user_id  uuid
            id       uuid

        returns
            id     uuid  never null
            label  text  never null

        reads
            things: id, label, user_id

        locks
            ACCESS SHARE   things

        may be run by
            clonedb_app, clonedb_worker, clonedb_dba

        users
            one user's rows, by the plan without policies
            run as one of two people: nothing of the other's came back

        plan
            plain, as clonedb_app
                Index Scan things_pkey on things AS t
                  cond: (t.user_id = $1) AND (t.id = $2)
        """,
    "sql/ledger/things/find_many.txt": """
        things.find_many

        query     0
        schema    1a2b

        2 variants prepare; 2 choices are planned below

        takes
            user_id  uuid
            label    text  with filter: label
            limit    bigint

        returns
            id     uuid  never null
            label  text  never null

        reads
            things: id, label, user_id

        locks
            ACCESS SHARE   things

        may be run by
            clonedb_app, clonedb_worker, clonedb_dba

        users
            one user's rows, by the plan without policies
            run as one of two people: nothing of the other's came back

        plan
            plain, as clonedb_app
                Limit
                  Index Scan things_pkey on things AS t
                    cond: t.user_id = $1
            filter label, as clonedb_app
                Limit
                  Sort
                    by: t.id
                    Bitmap Heap Scan on things AS t
                      Bitmap Index Scan things_by_label
                        cond: (t.user_id = $1) AND (t.label = $2)
        """,
    "sql/ledger/things/rename.txt": """
        things.rename

        query     0
        schema    1a2b

        takes
            user_id  uuid
            id       uuid
            label    text

        reads
            things: id, user_id

        writes
            cache_changes, inserts: caches, user_id
            things, updates: label

        locks
            ROW EXCLUSIVE  cache_changes, things

        may be run by
            clonedb_app, clonedb_worker, clonedb_dba

        users
            one user's rows, by the plan without policies
            run as one of two people: nothing of the other's came back

        plan
            plain, as clonedb_app
                Insert on cache_changes
                  CTE renamed
                    Update on things AS t
                      Index Scan things_pkey on things AS t
                        cond: (t.user_id = $2) AND (t.id = $3)
                  CTE Scan renamed
        """,
    "migrations/0001_create_things.sql": """
        -- Creates the things.
        -- phase: before deploy
        -- locks: none

        CREATE TABLE clonedb.things (user_id uuid NOT NULL, id uuid NOT NULL, label text NOT NULL);
        """,
    "migrations/0001_create_things.rollback.sql": """
        DROP TABLE clonedb.things;
        """,
    "docs/schema.sql": """
        --
        -- Name: count_things(); Type: FUNCTION; Schema: clonedb; Owner: clonedb_owner
        --

        CREATE FUNCTION clonedb.count_things() RETURNS bigint
            LANGUAGE sql STABLE SECURITY DEFINER
            AS $$ SELECT count(*) FROM clonedb.things $$;


        --
        -- Name: is_short(text); Type: FUNCTION; Schema: clonedb; Owner: clonedb_owner
        --

        CREATE FUNCTION clonedb.is_short(p_text text) RETURNS boolean
            LANGUAGE sql IMMUTABLE
            RETURN (char_length(p_text) < 10);


        --
        -- Name: things; Type: TABLE; Schema: clonedb; Owner: clonedb_owner
        --

        CREATE TABLE clonedb.things (
            user_id uuid NOT NULL,
            id uuid NOT NULL,
            label text NOT NULL,
            words text
        );

        ALTER TABLE ONLY clonedb.things FORCE ROW LEVEL SECURITY;


        --
        -- Name: COLUMN things.words; Type: COMMENT; Schema: clonedb; Owner: clonedb_owner
        --

        COMMENT ON COLUMN clonedb.things.words IS 'What user''s friends say. [personal: content]';


        --
        -- Name: things things_pkey; Type: CONSTRAINT; Schema: clonedb; Owner: clonedb_owner
        --

        ALTER TABLE ONLY clonedb.things ADD CONSTRAINT things_pkey PRIMARY KEY (user_id, id);


        --
        -- Name: things_by_label; Type: INDEX; Schema: clonedb; Owner: clonedb_owner
        --

        CREATE INDEX things_by_label ON clonedb.things USING btree (user_id, label);


        --
        -- Name: things_unused; Type: INDEX; Schema: clonedb; Owner: clonedb_owner
        --

        CREATE INDEX things_unused ON clonedb.things USING btree (label);


        --
        -- Name: things own_rows; Type: POLICY; Schema: clonedb; Owner: clonedb_owner
        --

        CREATE POLICY own_rows ON clonedb.things TO clonedb_app USING (user_id = me());


        --
        -- Name: things; Type: ROW SECURITY; Schema: clonedb; Owner: clonedb_owner
        --

        ALTER TABLE clonedb.things ENABLE ROW LEVEL SECURITY;
        """,
    "docs/grants.md": """
        # Every grant

        ## Roles, database and schema

        - USAGE on schema clonedb: clonedb_app, clonedb_worker.

        ## Tables

        | table | app | worker | readonly |
        | --- | --- | --- | --- |
        | `things` | S u | S I U D | s |

        ## Columns

        - `things`, app, UPDATE: label
        - `things`, readonly, SELECT: id

        ## Policies

        | policy | for | expression |
        | --- | --- | --- |
        | `own_rows` | app | `user_id = me()` |

        ## Functions

        | function | acts as | app | worker |
        | --- | --- | --- | --- |
        | `count_things()` | owner |  | x |
        """,
    "shop/__init__.py": "",
    "shop/things.py": """
        class ThingRepository:
            async def find_by_id(self, id):
                return await self._scope.one(queries.things.find_by_id, Thing, id=id)

            async def find_many(self, limit=50):
                return await self._scope.many(queries.things.find_many, Thing, limit=limit)

            async def rename(self, id, label):
                return await self._scope.execute(queries.things.rename, id=id, label=label)

            async def count_everything(self):
                return await self._scope.value(queries.things.count_all)
        """,
    "tests/test_things.py": """
        async def test_things(things):
            await things.rename(1, "lamp")
            assert await things.find_by_id(1)
            assert await things.find_many()
            assert await things.count_everything() == 1
        """,
}
