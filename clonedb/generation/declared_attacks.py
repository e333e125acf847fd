"""The attacks that are tried, and what is to come of each.

`tests/security` tries every one of them on a real server and compares; docs/attacks.md is made from
here. An attack that is not blocked has a row in docs/security.md, of which `told` is a part.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Outcome = Literal["blocked", "not blocked"]


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody tries, what comes of it, and by what; `remedy` is for what is not blocked."""

    what: str
    by: str
    outcome: Outcome = "blocked"
    remedy: str = ""
    told: str = ""


class Group(msgspec.Struct, frozen=True):
    """Attacks by the same means; the attacker has the app's login unless it is said otherwise."""

    title: str
    attacks: dict[str, Attack]


def _open(what: str, why: str, *, remedy: str, told: str) -> Attack:
    return Attack(what=what, by=why, outcome="not blocked", remedy=remedy, told=told)


_POLICY: Final = "row-level security, forced"
_RIGHT: Final = "no such right"
_SERVICES: Final = "who has the app's login stops others"

_ROWS: Final = {
    "read_without_context": Attack(what="reads every table without a user", by=_POLICY),
    "read_anothers": Attack(what="reads another's rows, by id or all", by=_POLICY),
    "read_as_deleted": Attack(
        what="goes on reading with the id of a deleted user",
        by="the policies ask whether the user lives; cached entries are dropped with the user",
    ),
    "read_with_strange_context": Attack(
        what="sets a context that is no id, or SQL",
        by="it is cast to uuid, and is never a part of a statement",
    ),
    "several_users": Attack(
        what="names several users in the context, to read more than caches or to write anything",
        by="only the policies for reading caches take a list; all others cast it to one uuid",
    ),
    "insert_for_another": Attack(what="inserts rows as another's", by=_POLICY),
    "update_anothers": Attack(what="updates another's rows", by=_POLICY),
    "delete_anothers": Attack(what="deletes another's rows", by=_POLICY),
    "give_rows_away": Attack(what="moves a row of its own to another", by=_POLICY),
    "take_rows": Attack(what="moves another's row to itself", by=_POLICY),
    "upsert_on_anothers_key": Attack(
        what="upserts on the key of another's row, in every table",
        by=_POLICY + "; as one's own the key is free",
    ),
    "refer_to_anothers": Attack(
        what="refers to another's row by every foreign key",
        by="the user is a part of every key",
    ),
    "merge_and_join": Attack(
        what="MERGE, joins, sub-selects, RETURNING and INSERT … SELECT over another's rows",
        by=_POLICY,
    ),
    "merge_blindly": Attack(
        what="MERGE that names no column of its target, and so meets every row there",
        by="the policies for UPDATE and DELETE fail the statement",
    ),
    "read_a_month": Attack(what="reads a month of turns or of the audit log itself", by=_RIGHT),
    "another_by_id": _open(
        "acts as any user whose id it knows",
        "the context is what the login says it is",
        remedy="keep the login's secret in services; a login for each service; audit",
        told="who has the app's login acts as any user whose id they know",
    ),
}

_HINTS: Final = {
    "conflict_tells": Attack(
        what="asks by a unique conflict whether another's key is taken",
        by="the policy refuses before an index is asked: the answer is the same, taken or free",
    ),
    "reference_tells": Attack(
        what="asks by a foreign key whether another's row is there",
        by="the user is a part of the key: the answer is the same, there or not",
    ),
    "refused_row_tells": Attack(
        what="reads another's values in the DETAIL of an error",
        by="PostgreSQL keeps it back where row-level security is on",
    ),
    "leaky_condition": Attack(
        what="casts, divides or formats in a WHERE, so that an error tells a hidden value",
        by="conditions that are not leakproof see what a policy has let pass",
    ),
    "leaky_function": Attack(
        what="makes a function that tells what it is given, cheap enough to be asked first",
        by=_RIGHT + ", and policies would go first",
    ),
    "statistics_of_columns": Attack(
        what="reads common values in pg_stats, or samples in pg_statistic",
        by="pg_stats leaves out tables whose policies concern the reader",
    ),
    "others_statements": Attack(
        what="reads what others say in pg_stat_activity",
        by="values travel as parameters, apart from the text",
    ),
    "notification_names": Attack(
        what="listens for the notifications of caches to learn ids or words",
        by="a payload is the caches' initials and two bytes of a digest",
    ),
    "cursor_forged": Attack(
        what="forges the cursor of a page, to begin at another's rows", by=_POLICY
    ),
    "account_exists": _open(
        "asks whether an address has an account, and gets its id",
        "a login has to be found before there is a context: `find_login`, `sign_up`",
        remedy="rate limits by address in the service",
        told="who has the app's login learns whether an address has an account",
    ),
    "rows_are_counted": _open(
        "reads how many rows tables hold: pg_class, EXPLAIN ANALYZE, MERGE that does nothing",
        "statistics are everybody's",
        remedy="a server of its own for what is more secret than that",
        told="with any login sees how many rows tables hold",
    ),
    "roles_are_listed": _open(
        "lists roles and who is connected",
        "catalogues are everybody's",
        remedy="a server of its own for what is more secret than that",
        told="which roles there are and who is connected",
    ),
    "id_tells_time": _open(
        "reads off an id when its row was made",
        "UUIDv7 begins with the milliseconds",
        remedy="references of your own where that matters",
        told="reads an id and knows when it was made",
    ),
    "caches_are_watched": _open(
        "hears when caches of a user whose id it knows change",
        "LISTEN is everybody's, and who knows the id can compute the two bytes",
        remedy="a server of its own for what is more secret than that",
        told="hears when the caches of a user whose id they know change",
    ),
}

_CONNECTIONS: Final = {
    "left_on_the_pool": Attack(
        what="finds the user of the call before on a pool of one connection",
        by="the context ends with the statement's transaction",
    ),
    "left_on_a_channel": Attack(
        what="finds the user of a neighbour on a channel",
        by="the context ends with the statement's transaction",
    ),
    "left_after_an_error": Attack(
        what="finds the user of a call that failed, was cancelled or timed out",
        by="the context ends with the statement's transaction",
    ),
    "left_behind_pgbouncer": Attack(
        what="finds a user of the library on a server connection of pgbouncer's",
        by="the context ends with the statement's transaction",
    ),
    "careless_neighbour": Attack(
        what="a neighbour behind pgbouncer leaves a session setting, and the library takes it over",
        by="every call sets its own context, also where that is nobody",
    ),
    "careless_itself": _open(
        "sets the context of the session behind pgbouncer, for whoever is next to find",
        "pgbouncer hands server connections on as they are",
        remedy="set_config(…, true) alone; `server_reset_query_always = 1`",
        told="sets the context for the session behind pgbouncer",
    ),
    "plan_of_another": Attack(
        what="executes what was prepared and planned for another user",
        by="the policy asks for the user with each execution",
    ),
}

_POWER: Final = {
    "set_role": Attack(what="SET ROLE to every other role", by="it is a member of nothing"),
    "set_session_authorization": Attack(
        what="SET SESSION AUTHORIZATION to every other role", by=_RIGHT
    ),
    "row_security_off": Attack(
        what="SET row_security = off",
        by="then a statement that policies concern fails",
    ),
    "replica_role": Attack(what="session_replication_role = replica, past keys", by=_RIGHT),
    "drop_protection": Attack(
        what="disables row-level security, alters, drops or adds policies", by="it owns nothing"
    ),
    "replace_functions": Attack(
        what="replaces a function that policies ask", by="it owns nothing and may not CREATE"
    ),
    "grant_itself": Attack(what="grants itself rights, or a role to itself", by=_RIGHT),
    "default_context": Attack(
        what="ALTER ROLE … SET clonedb.user_id, a user for all who name none",
        by="a parameter that is not the server's takes a superuser to set for a role",
    ),
    "truncate": Attack(what="TRUNCATE", by=_RIGHT),
    "copy_out": Attack(what="COPY … TO of another's rows", by=_POLICY),
    "copy_in": Attack(
        what="COPY … FROM, past the policies", by="PostgreSQL has none under row-level security"
    ),
    "copy_program": Attack(what="COPY to a file or program of the server", by=_RIGHT),
    "server_files": Attack(
        what="reads files: pg_read_file, lo_import, pg_ls_dir, pg_current_logfile", by=_RIGHT
    ),
    "passwords": Attack(what="reads pg_authid or pg_shadow", by=_RIGHT),
    "extension": Attack(what="CREATE EXTENSION, dblink and the like", by=_RIGHT),
    "raise_itself": Attack(
        what="raises its tier, quota, tokens or rules",
        by="rights by column; functions that take their user from the context",
    ),
    "rewrite_audit": Attack(
        what="changes or deletes audit entries, or forges them as another's",
        by="no login has the right; policies on actor and subject",
    ),
    "stop_others_by_locks": _open(
        "LOCK TABLE, and everybody waits",
        "who may UPDATE or DELETE may lock",
        remedy="lock_timeout and idle_in_transaction_session_timeout for the login",
        told=_SERVICES,
    ),
    "stop_others_by_advisory_locks": _open(
        "holds the advisory lock of migrations",
        "advisory locks are everybody's",
        remedy="`clonedb migrate` says who holds it; end that session",
        told=_SERVICES,
    ),
    "stop_others_by_ending_them": _open(
        "ends the sessions of its own login, other processes' too",
        "a role may end what is its own",
        remedy="a login for each service, as member of clonedb_app",
        told="ends other sessions of the same login",
    ),
    "change_own_login": _open(
        "gives its login another password, or settings that stop everybody",
        "a role may alter itself",
        remedy="a login for each service; certificates or IAM; the doctor's `login_setting`",
        told="changes the password or the settings of its own login",
    ),
    "store_large_objects": _open(
        "stores large objects, which no policy reaches",
        "PUBLIC may call lo_create",
        remedy="as a superuser REVOKE EXECUTE ON FUNCTION lo_create … FROM PUBLIC",
        told="who has the app's login stores what no policy reaches: large objects",
    ),
    "forged_notification": _open(
        "sends notifications, so that processes forget what they cached",
        "NOTIFY is everybody's; a cache is asked again, and no value comes from a payload",
        remedy="a login for each service",
        told="makes processes forget what their memory caches",
    ),
}

_TRAPS: Final = {
    "own_temporary_table": Attack(what="a temporary table named like ours", by=_RIGHT),
    "shadow_a_definer": Attack(
        what="with TEMPORARY granted back: tables and functions that shadow what a function uses",
        by="search_path of every function of the owner is pinned, names are qualified",
    ),
    "shadow_by_schema": Attack(
        what="with a schema of its own: operators and functions before pg_catalog's",
        by="search_path of every function of the owner is pinned, names are qualified",
    ),
    "own_view_or_rule": Attack(what="makes a view, rule, trigger or table of its own", by=_RIGHT),
    "owners_view": _open(
        "reads a view of the owner without security_invoker",
        "a view asks the policies of its owner, who sees everybody",
        remedy="WITH (security_invoker = true); the doctor's `view_not_invoker`",
        told="makes a view without security_invoker",
    ),
    "owners_function": _open(
        "calls a function of the owner that returns too much",
        "its body is trusted",
        remedy="review; every one is in grants.md",
        told="writes a definer function of the owner that returns too much",
    ),
    "unprotected_month": _open(
        "reads a month that was made by hand, with a grant and without policies",
        "a policy of the parent does not reach who reads the month itself",
        remedy="clonedb.create_turn_partitions; the doctor's `rls_off` and `partition_granted`",
        told="makes a month by hand and grants it",
    ),
    "poison_shared_cache": Attack(
        what="writes, changes or deletes what caches hold for everybody",
        by="shared rows are the worker's",
    ),
    "poison_anothers_cache": Attack(
        what="puts an answer into another's cache, or reads theirs by its key", by=_POLICY
    ),
}

_LOGINS: Final = {
    "readonly_reads_words": Attack(
        what="readonly reads what people said, wrote or are called", by="rights by column"
    ),
    "readonly_writes": Attack(what="readonly writes", by=_RIGHT),
    "backup_writes": Attack(what="backup writes", by=_RIGHT),
    "worker_rewrites_audit": Attack(what="the worker or a dba changes the audit log", by=_RIGHT),
    "stranger_reads": Attack(
        what="a login of the server that is a member of nothing reads or calls anything", by=_RIGHT
    ),
    "worker_reads": _open(
        "the worker reads everybody's rows",
        "jobs work across users",
        remedy="run it where no person's request arrives",
        told="who has the worker's login reaches everybody's rows",
    ),
    "readonly_counts": _open(
        "readonly sees ids, times and costs of everybody",
        "dashboards count by user",
        remedy="no content is among them: the doctor's `readonly_reads_content`",
        told="who has readonly sees user ids, times and costs of everybody",
    ),
    "superuser_reads": _open(
        "a superuser reads everything",
        "policies do not hold for superusers",
        remedy="few superusers; encrypted disks and backups",
        told="who is a superuser, or reads the disk or a backup, sees everything",
    ),
}

GROUPS: Final = (
    Group("Another's rows", _ROWS),
    Group("Hints of another's rows", _HINTS),
    Group("What is left on a connection", _CONNECTIONS),
    Group("More power", _POWER),
    Group("Traps, and what somebody forgot", _TRAPS),
    Group("The other logins", _LOGINS),
)
