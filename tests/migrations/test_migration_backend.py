"""What holds when deployers race, are killed, or meet what others left: on a real server."""

from __future__ import annotations

import logging
import pwd
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from deploying import GATE, PATIENCE, Deployer, Folder, Probe, StockYoyo

from clonedb import migrate
from clonedb.errors import MigrationError, MigrationLocked, Unavailable
from clonedb.migrate import Progress
from clonedb.testing import IsolatedDatabase

AT_THE_GATE = f"SELECT pg_advisory_xact_lock({GATE});\n"


def assert_each_applied_once(probe: Probe, ids: list[str]) -> None:
    assert probe.marks() == ids
    log = probe.rows("SELECT migration_id, count(*) FROM _yoyo_log GROUP BY 1 ORDER BY 1")
    assert log == [(one, 1) for one in ids]
    checksums = probe.value("SELECT count(*) FROM clonedb_migration_checksums")
    assert checksums == len(ids)


def test_twenty_deployers_at_once_apply_each_migration_once(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    ids = [folder.add_table(number) for number in range(1, 6)]
    start = threading.Barrier(20)

    def deploy(_: int) -> list[str]:
        start.wait()
        return migrate.apply(dsn, directory=folder.path)

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(deploy, range(20)))
    assert sorted(one for result in results for one in result) == ids
    assert_each_applied_once(probe, ids)


def test_two_deployer_processes_apply_each_migration_once_between_them(
    dsn: str, folder: Folder, probe: Probe, deploy: Callable[..., Deployer]
) -> None:
    folder.add("0001_wait", AT_THE_GATE)
    ids = ["0001_wait", *(folder.add_table(number) for number in range(2, 6))]
    probe.close_gate()
    deployers = [deploy(), deploy()]
    probe.wait_until_somebody_is_at_the_gate()
    probe.open_gate()
    results = sorted(deployer.last_line() for deployer in deployers)
    assert results == ["done", "done " + " ".join(ids)]
    assert_each_applied_once(probe, ids)


def test_a_waiting_deployer_learns_who_holds_the_lock_and_gives_up_in_time(
    dsn: str, folder: Folder, probe: Probe, deploy: Callable[..., Deployer]
) -> None:
    folder.add("0001_wait", AT_THE_GATE)
    probe.close_gate()
    holder = deploy()
    pid = probe.wait_until_somebody_is_at_the_gate()
    said: list[Progress] = []
    with pytest.raises(MigrationLocked) as caught:
        migrate.apply(dsn, directory=folder.path, progress=said.append, wait=0.1)
    assert f"server process {pid} of clonedb_migrator" in str(caught.value)
    assert f"pid {holder.process.pid}," in str(caught.value)
    assert {progress.event for progress in said} == {"waiting"}
    assert migrate.pending(dsn, directory=folder.path) == ["0001_wait"]


def test_a_deployer_killed_in_a_statement_leaves_nothing_and_no_lock_to_remove(
    dsn: str, folder: Folder, probe: Probe, deploy: Callable[..., Deployer]
) -> None:
    first = folder.add_table(1)
    folder.add("0002_create_t2", f"CREATE TABLE public.t2 ();\n{AT_THE_GATE}")
    probe.close_gate()
    deployer = deploy()
    pid = probe.wait_until_somebody_is_at_the_gate()
    deployer.kill()
    # The server has not noticed: until it does, nobody may begin.
    with pytest.raises(MigrationLocked, match=f"server process {pid} "):
        migrate.apply(dsn, directory=folder.path, wait=0)
    probe.open_gate()
    assert migrate.apply(dsn, directory=folder.path) == ["0002_create_t2"]
    assert_each_applied_once(probe, [first, "0002_create_t2"])


def test_a_deployer_killed_between_two_migrations_is_continued(
    dsn: str, folder: Folder, probe: Probe, deploy: Callable[..., Deployer]
) -> None:
    ids = [folder.add_table(number) for number in (1, 2)]
    deployer = deploy(stop_after="applied")
    assert deployer.line() == f"applying {ids[0]}"
    assert deployer.line() == f"applied {ids[0]}"
    deployer.kill()
    assert migrate.apply(dsn, directory=folder.path) == ids[1:]
    assert_each_applied_once(probe, ids)


def test_a_deployer_killed_during_commit_leaves_the_migration_applied_and_marked(
    dsn: str, folder: Folder, probe: Probe, deploy: Callable[..., Deployer]
) -> None:
    folder.add(
        "0001_create_t1",
        f"""
        CREATE TABLE public.t1 (id integer);
        CREATE FUNCTION public.wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock({GATE});
            RETURN NULL;
        END
        $$;
        CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON public.t1
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.wait_at_commit();
        INSERT INTO public.t1 VALUES (1);
        """,
    )
    probe.close_gate()
    deployer = deploy()
    pid = probe.wait_until_somebody_is_at_the_gate()
    deployer.kill()
    probe.open_gate()
    probe.wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s", pid)
    assert migrate.apply(dsn, directory=folder.path) == []
    assert_each_applied_once(probe, ["0001_create_t1"])
    assert probe.tables() == ["t1"]


def test_a_killed_file_without_transaction_is_run_again(
    dsn: str, folder: Folder, probe: Probe, deploy: Callable[..., Deployer]
) -> None:
    first = folder.add_table(1)
    folder.add(
        "0002_index_t1",
        "-- transactional: false\n"
        "DROP INDEX CONCURRENTLY IF EXISTS public.t1_by_id;\n"
        "CREATE INDEX CONCURRENTLY t1_by_id ON public.t1 (id);\n" + AT_THE_GATE,
    )
    probe.close_gate()
    deployer = deploy()
    probe.wait_until_somebody_is_at_the_gate()
    deployer.kill()
    probe.open_gate()
    assert probe.marks() == [first]
    assert migrate.apply(dsn, directory=folder.path) == ["0002_index_t1"]
    assert_each_applied_once(probe, [first, "0002_index_t1"])


def test_a_waiting_deployer_does_not_stop_an_index_being_built_concurrently(
    folder: Folder, probe: Probe, deploy: Callable[..., Deployer]
) -> None:
    folder.add_table(1)
    folder.add(
        "0002_index_t1",
        "-- transactional: false\n"
        f"{AT_THE_GATE}CREATE INDEX CONCURRENTLY t1_by_id ON public.t1 (id);\n",
    )
    probe.close_gate()
    builder = deploy()
    probe.wait_until_somebody_is_at_the_gate()
    waiting = deploy()
    assert waiting.line().startswith("waiting another deployer holds the migration lock")
    probe.open_gate()
    assert builder.last_line() == "done 0001_create_t1 0002_index_t1"
    assert waiting.last_line() == "done"


def test_a_lost_connection_is_unavailable_and_the_next_run_goes_on(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    first = folder.add_table(1)
    folder.add("0002_create_t2", f"CREATE TABLE public.t2 ();\n{AT_THE_GATE}")
    probe.close_gate()
    with ThreadPoolExecutor(1) as pool:
        applying = pool.submit(migrate.apply, dsn, directory=folder.path)
        pid = probe.wait_until_somebody_is_at_the_gate()
        probe.value("SELECT pg_terminate_backend(%s)", pid)
        with pytest.raises(Unavailable, match=r"0002_create_t2\.sql:2: the connection was lost"):
            applying.result(PATIENCE)
    probe.open_gate()
    assert probe.marks() == [first]
    assert migrate.apply(dsn, directory=folder.path, wait=PATIENCE) == ["0002_create_t2"]


def test_a_migration_steps_back_from_a_table_in_use_and_tries_again(
    dsn: str, database: IsolatedDatabase, folder: Folder, probe: Probe
) -> None:
    folder.add_table(1)
    migrate.apply(dsn, directory=folder.path)
    folder.add("0002_alter_t1", "ALTER TABLE public.t1 ADD COLUMN name text;")
    said: list[str] = []
    with psycopg.connect(database.dsn("clonedb_superuser")) as user:
        user.execute("SELECT FROM public.t1")

        def listen(progress: Progress) -> None:
            said.append(progress.event)
            if said.count("retrying") == 2:
                user.rollback()

        applied = migrate.apply(dsn, directory=folder.path, progress=listen, lock_timeout=0.05)
    assert applied == ["0002_alter_t1"]
    assert said == ["applying", "retrying", "retrying", "applied"]


def test_a_table_that_stays_in_use_is_a_clear_error_after_bounded_attempts(
    dsn: str, database: IsolatedDatabase, folder: Folder, probe: Probe
) -> None:
    first = folder.add_table(1)
    migrate.apply(dsn, directory=folder.path)
    folder.add("0002_alter_t1", "SELECT 1;\nALTER TABLE public.t1 ADD COLUMN name text;")
    with psycopg.connect(database.dsn("clonedb_superuser")) as user:
        user.execute("SELECT FROM public.t1")
        with pytest.raises(MigrationError, match=r"0002_alter_t1\.sql:2: .*2 attempts") as caught:
            migrate.apply(dsn, directory=folder.path, lock_timeout=0.05, attempts=2)
    assert caught.value.sqlstate == "55P03"
    assert "pg_stat_activity" in str(caught.value)
    assert probe.marks() == [first]
    assert migrate.apply(dsn, directory=folder.path, wait=0) == ["0002_alter_t1"]


@pytest.mark.parametrize("suffix", [".sql", ".rollback.sql"])
def test_transaction_control_is_refused_before_anything_runs(
    dsn: str, folder: Folder, probe: Probe, suffix: str
) -> None:
    folder.add_table(1)
    folder.add("0002_escape", "SELECT 1;", "SELECT 1;")
    (folder.path / f"0002_escape{suffix}").write_text("SELECT 2;\nCOMMIT;\n")
    with pytest.raises(MigrationError, match=rf"migrations/0002_escape{suffix}:2: COMMIT in a tr"):
        migrate.apply(dsn, directory=folder.path)
    assert probe.tables() == []


def test_the_same_words_inside_bodies_strings_and_comments_are_no_transaction_control(
    dsn: str, folder: Folder
) -> None:
    folder.add(
        "0001_words",
        r"""
        /* BEGIN; COMMIT; */
        CREATE TABLE public."COMMIT" ("END" text DEFAULT '; COMMIT;', e text DEFAULT E'\'; END;');
        CREATE FUNCTION public.f() RETURNS integer LANGUAGE plpgsql AS $body$
        BEGIN
            IF true THEN RETURN 1; END IF;
        END; $body$;
        CREATE FUNCTION public.g() RETURNS integer LANGUAGE sql
        BEGIN ATOMIC
            SELECT CASE WHEN true THEN 1 END;
            SELECT 2;
        END;
        DO 'BEGIN PERFORM 1; END';
        -- ROLLBACK;
        SELECT CASE WHEN '50%' = ':x' THEN 1 END;
        """,
    )
    assert migrate.apply(dsn, directory=folder.path) == ["0001_words"]


def test_a_file_may_change_its_role_and_path_and_is_marked_all_the_same(
    database: IsolatedDatabase, folder: Folder, probe: Probe
) -> None:
    folder.add("0001_local", "SET LOCAL ROLE clonedb_owner;\nCREATE SCHEMA s;")
    folder.add("0002_session", "SET ROLE clonedb_owner;\nSET search_path = s;\nCREATE TABLE a ();")
    folder.add("0003_login", "SET SESSION AUTHORIZATION clonedb_app;\nSELECT 1;")
    folder.add("0004_outside", "-- transactional: false\nSET ROLE clonedb_owner;\nSELECT 1;")
    folder.add("0005_after", "CREATE TABLE t5 ();")
    migrate.apply(database.dsn("clonedb_superuser"), directory=folder.path)
    assert len(probe.marks()) == 5
    assert probe.tables() == ["t5"]
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = %s"
    assert probe.value(owner, "a") == "clonedb_owner"
    assert probe.value(owner, "t5") == "clonedb_superuser"


def test_a_login_with_a_timeout_and_a_schema_of_its_own_migrates_like_any_other(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    probe.connection.execute(
        psycopg.sql.SQL(
            "ALTER ROLE clonedb_migrator IN DATABASE {} SET statement_timeout = '20ms'"
        ).format(psycopg.sql.Identifier(probe.connection.info.dbname))
    )
    probe.connection.execute(b"CREATE SCHEMA clonedb_migrator AUTHORIZATION clonedb_migrator")
    folder.add("0001_slow", "SELECT pg_sleep(0.1);")
    assert migrate.apply(dsn, directory=folder.path) == ["0001_slow"]
    assert probe.marks() == ["0001_slow"]


def test_an_os_user_without_an_entry_is_no_reason_to_leave_a_migration_unmarked(
    dsn: str, folder: Folder, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_entry(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    first = folder.add_table(1)
    assert migrate.apply(dsn, directory=folder.path) == [first]
    assert probe.rows("SELECT username FROM _yoyo_log") == [("unknown",)]


def test_a_file_outside_a_transaction_that_fails_says_what_stays(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    folder.add(
        "0001_create_t1",
        "-- transactional: false\nCREATE TABLE public.t1 ();\nCREATE TABLE public.t1 ();\n",
    )
    with pytest.raises(MigrationError, match=r"0001_create_t1\.sql:3: .*already exists.* stays"):
        migrate.apply(dsn, directory=folder.path)
    assert probe.tables() == ["t1"]
    assert probe.marks() == []


def test_a_file_that_leaves_a_transaction_open_is_refused(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    folder.add("0001_create_t1", "-- transactional: false\nBEGIN;\nCREATE TABLE public.t1 ();\n")
    with pytest.raises(MigrationError, match=r"0001_create_t1\.sql: leaves a transaction open"):
        migrate.apply(dsn, directory=folder.path)
    assert probe.tables() == []
    assert probe.marks() == []


def test_a_failure_in_a_file_s_own_transaction_is_what_is_reported(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    folder.add(
        "0001_divide",
        "-- transactional: false\nBEGIN;\nCREATE TABLE public.t1 ();\nSELECT 1 / 0;\n",
    )
    with pytest.raises(MigrationError, match=r"0001_divide\.sql:4: division by zero"):
        migrate.apply(dsn, directory=folder.path)
    assert probe.tables() == []
    assert probe.marks() == []


def test_a_migration_that_gives_the_lock_away_is_not_kept(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    folder.add("0001_unlock", "CREATE TABLE public.t1 ();\nSELECT pg_advisory_unlock_all();\n")
    with pytest.raises(MigrationError, match="lock was lost"):
        migrate.apply(dsn, directory=folder.path)
    assert probe.tables() == []
    assert probe.marks() == []


def test_a_lock_of_stock_yoyo_is_respected_and_its_remedy_named(
    dsn: str, folder: Folder, probe: Probe, stock_yoyo: StockYoyo
) -> None:
    first = folder.add_table(1)
    stock_yoyo("list")
    probe.connection.execute("INSERT INTO yoyo_lock VALUES (1, now(), 12345)")
    said: list[Progress] = []
    with pytest.raises(MigrationLocked, match=r"stock yoyo, OS process 12345.*break-lock"):
        migrate.apply(dsn, directory=folder.path, wait=0.1, progress=said.append)
    assert {progress.event for progress in said} == {"waiting"}
    assert probe.tables() == []
    stock_yoyo("break-lock")
    assert migrate.apply(dsn, directory=folder.path) == [first]


def test_stock_yoyo_waits_for_a_migration_that_is_under_way(
    dsn: str, folder: Folder, probe: Probe, deploy: Callable[..., Deployer], stock_yoyo: StockYoyo
) -> None:
    folder.add("0001_create_t1", f"{AT_THE_GATE}CREATE TABLE public.t1 ();\n")
    probe.close_gate()
    deployer = deploy()
    probe.wait_until_somebody_is_at_the_gate()
    with ThreadPoolExecutor(1) as pool:
        stock = pool.submit(stock_yoyo, "apply")
        probe.wait_until(
            "SELECT count(*) > 0 FROM pg_locks"
            " WHERE relation = 'yoyo_lock'::regclass AND NOT granted"
        )
        probe.open_gate()
        assert deployer.last_line() == "done 0001_create_t1"
        stock.result(PATIENCE)
    assert_each_applied_once(probe, ["0001_create_t1"])


def test_a_migration_s_warnings_reach_the_deployer_and_its_rows_do_not_reach_stdout(
    dsn: str, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.add("0001_warn", "SELECT 'a row';\nDO $$ BEGIN RAISE WARNING 'look here'; END $$;")
    said: list[Progress] = []
    migrate.apply(dsn, directory=folder.path, progress=said.append)
    assert ("warning", "look here") in {(one.event, one.detail) for one in said}
    assert capsys.readouterr() == ("", "")


def test_the_normal_course_writes_no_errors_into_the_server_s_log(
    dsn: str, server: Any, folder: Folder, probe: Probe
) -> None:
    log = server.data_directory / "server.log"
    before = log.stat().st_size
    folder.add_table(1)
    migrate.status(dsn, directory=folder.path)
    migrate.apply(dsn, directory=folder.path)
    migrate.apply(dsn, directory=folder.path)
    migrate.status(dsn, directory=folder.path)
    migrate.rollback(dsn, directory=folder.path)
    # Written after the rest, so the log has arrived when this has.
    with pytest.raises(psycopg.errors.DivisionByZero):
        probe.value("SELECT 1 / 0")
    with log.open("rb") as file:
        file.seek(before)
        lines = file.read().decode().splitlines()
    assert [line for line in lines if "ERROR:" in line or "WARNING:" in line] == [
        line for line in lines if "division by zero" in line
    ]


def test_a_wrong_password_is_unavailable_and_shown_nowhere(
    password_server: str, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    folder.add_table(1)
    caplog.set_level(logging.DEBUG)
    secret = "p@ss w?rd#%&:'x"
    wrong = psycopg.conninfo.make_conninfo(password_server, password=secret)
    with pytest.raises(Unavailable, match="password authentication failed") as caught:
        migrate.apply(wrong, directory=folder.path)
    shown = f"{caught.value!r} {caught.value} {caught.value.__dict__} {caplog.text}"
    assert secret not in shown
    assert caught.value.__cause__ is None
    right = psycopg.conninfo.make_conninfo(password_server, password="r@ght w?rd#%&:'x")
    assert migrate.apply(right, directory=folder.path) == ["0001_create_t1"]
