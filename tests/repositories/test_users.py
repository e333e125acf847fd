"""Users: what each method of the repository promises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from ground import as_superuser, nothing_stored

from clonedb import (
    AlreadyExists,
    Database,
    DatabaseScope,
    InvalidInput,
    NewSession,
    NewTurn,
    NewUser,
    NotFound,
    PermissionDenied,
    SignUp,
    User,
    UserFilter,
    UserPatch,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase


@pytest.fixture
def everybody(clonedb_rollback: DatabaseScope) -> DatabaseScope:
    """The worker's scope in a transaction: no other user exists, and none remains."""
    return clonedb_rollback


EVERYTHING = {
    "name": "Ada Lovelace",
    "personality_traits": ["curious", "exact"],
    "speaking_style": "in long sentences",
    "preferred_llm_provider": "claude-3-opus",
    "preferred_tts_provider": "openai-tts",
    "settings": {"theme": "dark", "nested": {"volume": 0.5, "list": [1, None, True, "ü"]}},
}


async def test_a_created_user_is_read_back_field_by_field(everybody: DatabaseScope) -> None:
    identifier = new_id()
    created = await everybody.users.create(
        NewUser(id=identifier, email="Ada@Example.com", subscription_tier="pro", **EVERYTHING)
    )
    found = await everybody.users.get_by_id(identifier)
    assert found == created
    assert (found.id, found.email, found.subscription_tier) == (
        identifier,
        "Ada@Example.com",
        "pro",
    )
    assert {name: getattr(found, name) for name in EVERYTHING} == EVERYTHING
    assert found.conversation_minutes_used == 0
    assert found.deleted_at is None
    assert found.created_at == found.updated_at
    assert found.created_at.tzinfo is not None


async def test_the_database_makes_an_id_of_version_7(everybody: DatabaseScope) -> None:
    created = await everybody.users.create(NewUser(email="ada@example.com"))
    assert created.id.version == 7


async def test_an_id_may_be_given_as_text(everybody: DatabaseScope) -> None:
    identifier = new_id()
    created = await everybody.users.create(NewUser(id=str(identifier), email="ada@example.com"))  # type: ignore[arg-type]
    assert created.id == identifier
    assert await everybody.users.find_by_id(str(identifier)) == created


async def test_a_repeated_create_returns_the_stored_user(everybody: DatabaseScope) -> None:
    new = NewUser(id=new_id(), email="ada@example.com", **EVERYTHING)
    first = await everybody.users.create(new)
    assert await everybody.users.create(new) == first
    assert await everybody.users.count() == 1


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("email", "augusta@example.com"),
        ("email", "ADA@example.com"),
        ("name", "Augusta"),
        ("personality_traits", ["vague"]),
        ("speaking_style", "tersely"),
        ("preferred_llm_provider", "llama-3-70b"),
        ("preferred_tts_provider", "xtts-v2"),
        ("settings", {}),
        ("subscription_tier", "enterprise"),
    ],
)
async def test_a_repeat_with_other_content_is_refused_and_names_the_field(
    everybody: DatabaseScope, field: str, other: object
) -> None:
    content = {"id": new_id(), "email": "ada@example.com", **EVERYTHING}
    stored = await everybody.users.create(NewUser(**content))
    with pytest.raises(AlreadyExists, match=field):
        await everybody.users.create(NewUser(**{**content, field: other}))
    assert await everybody.users.get_by_id(stored.id) == stored


async def test_a_repeat_of_a_deleted_user_is_refused(everybody: DatabaseScope) -> None:
    new = NewUser(id=new_id(), email="ada@example.com")
    stored = await everybody.users.create(new)
    await everybody.users.delete(stored.id)
    with pytest.raises(AlreadyExists, match="deleted"):
        await everybody.users.create(new)


async def test_an_email_in_another_case_is_taken(everybody: DatabaseScope) -> None:
    await everybody.users.create(NewUser(email="Ada@Example.com"))
    with pytest.raises(AlreadyExists) as refused:
        async with everybody.transaction() as savepoint:
            await savepoint.users.create(NewUser(email="aDA@eXAMPLE.COM"))
    assert refused.value.constraint == "users_email_key_living"
    assert await everybody.users.count() == 1


async def test_find_by_email_finds_any_case_and_keeps_what_was_written(
    everybody: DatabaseScope,
) -> None:
    stored = await everybody.users.create(NewUser(email="Ada@Example.com"))
    assert await everybody.users.find_by_email("aDA@eXAMPLE.cOM") == stored
    assert stored.email == "Ada@Example.com"
    assert await everybody.users.find_by_email("nobody@example.com") is None


async def test_a_deleted_users_email_is_free_and_finds_the_new_user(
    everybody: DatabaseScope,
) -> None:
    first = await everybody.users.create(NewUser(email="ada@example.com"))
    await everybody.users.delete(first.id)
    assert await everybody.users.find_by_email("ada@example.com") is None
    second = await everybody.users.create(NewUser(email="ada@example.com"))
    assert await everybody.users.find_by_email("ADA@example.com") == second


async def test_create_many_stores_all_and_returns_them_in_order(everybody: DatabaseScope) -> None:
    news = [
        NewUser(id=new_id(), email=f"user{number}@example.com", **EVERYTHING)
        for number in range(50)
    ]
    news.reverse()
    stored = await everybody.users.create_many(news)
    assert [user.id for user in stored] == [new.id for new in news]
    for user, new in zip(stored, news, strict=True):
        assert user.email == new.email
        assert {name: getattr(user, name) for name in EVERYTHING} == EVERYTHING
    assert await everybody.users.create_many(news) == stored
    assert await everybody.users.count() == 50


async def test_create_many_of_nothing_stores_nothing(everybody: DatabaseScope) -> None:
    assert await everybody.users.create_many([]) == []


async def test_create_many_stores_none_when_one_is_refused(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    with nothing_stored(migrated), pytest.raises(AlreadyExists):
        await worker.users.create_many(
            [NewUser(email="new@example.com"), NewUser(email=ada.email.upper())]
        )


async def test_a_patch_changes_what_it_names_and_nothing_else(everybody: DatabaseScope) -> None:
    stored = await everybody.users.create(NewUser(email="ada@example.com", **EVERYTHING))
    changed = await everybody.users.update(
        stored.id, UserPatch(name="Countess", speaking_style=None)
    )
    assert (changed.name, changed.speaking_style) == ("Countess", None)
    untouched = set(User.__struct_fields__) - {"name", "speaking_style", "updated_at"}
    for field in untouched:
        assert getattr(changed, field) == getattr(stored, field), field
    assert changed == await everybody.users.get_by_id(stored.id)


@pytest.mark.parametrize("field", UserPatch.__struct_fields__)
async def test_every_field_of_a_patch_is_stored(everybody: DatabaseScope, field: str) -> None:
    values = {"email": "countess@example.com", **EVERYTHING}
    stored = await everybody.users.create(NewUser(email="ada@example.com"))
    changed = await everybody.users.update(stored.id, UserPatch(**{field: values[field]}))
    assert getattr(changed, field) == values[field] != getattr(stored, field)


async def test_updating_an_unknown_or_deleted_user_is_not_found(everybody: DatabaseScope) -> None:
    stored = await everybody.users.create(NewUser(email="ada@example.com"))
    await everybody.users.delete(stored.id)
    for identifier in (stored.id, new_id()):
        with pytest.raises(NotFound, match=str(identifier)):
            await everybody.users.update(identifier, UserPatch(name="Countess"))
    assert (await everybody.users.get_by_id(stored.id, include_deleted=True)).name is None


async def test_update_many_changes_the_named_and_leaves_out_the_unknown(
    everybody: DatabaseScope,
) -> None:
    ada, grace, edith = await everybody.users.create_many(
        [NewUser(id=new_id(), email=f"{name}@example.com") for name in ("ada", "grace", "edith")]
    )
    changed = await everybody.users.update_many(
        [ada.id, grace.id, new_id()], UserPatch(speaking_style="plainly")
    )
    assert {user.id for user in changed} == {ada.id, grace.id}
    assert {user.speaking_style for user in changed} == {"plainly"}
    assert await everybody.users.get_by_id(edith.id) == edith


async def test_update_many_refuses_to_share_an_email(everybody: DatabaseScope) -> None:
    with pytest.raises(InvalidInput, match="e-mail"):
        await everybody.users.update_many([new_id()], UserPatch(email="all@example.com"))


async def test_merging_settings_sets_and_removes_top_level_keys(everybody: DatabaseScope) -> None:
    stored = await everybody.users.create(
        NewUser(email="ada@example.com", settings={"keep": 1, "change": {"a": 1}, "drop": True})
    )
    merged = await everybody.users.merge_settings(
        stored.id, {"change": {"b": 2}, "drop": None, "new": ["x"], "never": None}
    )
    assert merged.settings == {"keep": 1, "change": {"b": 2}, "new": ["x"]}


async def test_minutes_add_up_exactly(everybody: DatabaseScope) -> None:
    stored = await everybody.users.create(NewUser(email="ada@example.com"))
    for _ in range(10):
        await everybody.users.add_minutes(stored.id, Decimal("0.1"))
    total = await everybody.users.add_minutes(stored.id, Decimal("12.345"))
    assert total.conversation_minutes_used == Decimal("13.345")


async def test_the_tier_moves(everybody: DatabaseScope) -> None:
    stored = await everybody.users.create(NewUser(email="ada@example.com"))
    assert (
        await everybody.users.set_tier(stored.id, "enterprise")
    ).subscription_tier == "enterprise"


async def test_an_unknown_id_is_reported_by_every_method_and_changes_nothing(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    users, unknown = worker.users, new_id()
    with nothing_stored(migrated):
        assert await users.find_by_id(unknown) is None
        assert await users.delete(unknown) is False
        assert await users.hard_delete(unknown) is False
        assert await users.update_many([unknown], UserPatch(name="Nobody")) == []
        for refused in (
            users.get_by_id(unknown),
            users.update(unknown, UserPatch(name="Nobody")),
            users.merge_settings(unknown, {"a": 1}),
            users.add_minutes(unknown, Decimal(1)),
            users.set_tier(unknown, "pro"),
            users.restore(unknown),
        ):
            with pytest.raises(NotFound, match=str(unknown)):
                await refused


async def test_a_deleted_user_is_hidden_everywhere_unless_asked_for(
    everybody: DatabaseScope,
) -> None:
    stored = await everybody.users.create(NewUser(email="ada@example.com"))
    assert await everybody.users.delete(stored.id) is True
    assert await everybody.users.delete(stored.id) is False
    users = everybody.users
    assert await users.find_by_id(stored.id) is None
    assert await users.find_one() is None
    assert (await users.find_many(with_total=True)).total == 0
    assert await users.count() == 0
    assert await users.exists() is False
    hidden = await users.get_by_id(stored.id, include_deleted=True)
    assert hidden.deleted_at is not None
    assert (await users.find_many(include_deleted=True)).items == [hidden]
    assert await users.count(include_deleted=True) == 1
    assert await users.exists(include_deleted=True) is True


async def test_a_living_user_cannot_be_restored(everybody: DatabaseScope) -> None:
    stored = await everybody.users.create(NewUser(email="ada@example.com"))
    with pytest.raises(NotFound, match="deleted user"):
        await everybody.users.restore(stored.id)


async def test_restoring_into_a_taken_email_is_refused(everybody: DatabaseScope) -> None:
    first = await everybody.users.create(NewUser(email="ada@example.com"))
    await everybody.users.delete(first.id)
    await everybody.users.create(NewUser(email="ADA@example.com"))
    with pytest.raises(AlreadyExists) as refused:
        async with everybody.transaction() as savepoint:
            await savepoint.users.restore(first.id)
    assert refused.value.constraint == "users_email_key_living"
    assert await everybody.users.find_by_id(first.id) is None


async def test_deleting_drops_the_cached_entries_of_that_user_alone(
    worker: Database, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    with as_superuser(migrated) as connection:
        for user in (ada, grace):
            connection.execute(
                "INSERT INTO clonedb.llm_response_cache "
                "(user_id, key, response, provider, expires_at) "
                "VALUES (%s, sha256('asked'), 'hello', 'gpt-4-turbo', now() + interval '1 hour')",
                [user.id],
            )
        await worker.users.delete(ada.id)
        left = connection.execute(
            "SELECT user_id FROM clonedb.llm_response_cache WHERE user_id IN (%s, %s)",
            [ada.id, grace.id],
        ).fetchall()
    assert left == [(grace.id,)]


async def test_a_hard_delete_leaves_nothing_of_the_user_and_all_of_the_others(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    await talk(worker, ada, migrated)
    with nothing_stored(migrated, on_record=True):
        grace = await worker.users.create(NewUser(email="grace@example.com"))
        await talk(worker, grace, migrated)
        assert await worker.users.hard_delete(grace.id) is True
        assert await worker.users.hard_delete(grace.id) is False


async def talk(worker: Database, user: User, migrated: IsolatedDatabase) -> None:
    """A session of one turn, with a voice model, whose reference restricts its deletion."""
    with as_superuser(migrated) as connection:
        voice = connection.execute(
            "INSERT INTO clonedb.voice_models (user_id, provider, model_path, sample_rate) "
            "VALUES (%s, 'xtts-v2', 'voice.bin', 24000) RETURNING id",
            [user.id],
        ).fetchone()
    assert voice is not None
    sessions = worker.as_user(user.id).conversation_sessions
    session = await sessions.create(NewSession(voice_model_id=voice[0]))
    await sessions.record_turn(session.id, NewTurn(user_transcript="Hello", llm_response="Hi"))


async def test_filters_narrow_lists_counts_and_existence_alike(everybody: DatabaseScope) -> None:
    ada, grace = await everybody.users.create_many(
        [
            NewUser(id=new_id(), email="ada@example.com", subscription_tier="pro"),
            NewUser(id=new_id(), email="grace@example.com", preferred_llm_provider="llama-3-70b"),
        ]
    )
    later = ada.created_at + timedelta(microseconds=1)
    for filters, matching in (
        (UserFilter(), {ada.id, grace.id}),
        (UserFilter(subscription_tier="pro"), {ada.id}),
        (UserFilter(preferred_llm_provider="llama-3-70b"), {grace.id}),
        (UserFilter(subscription_tier="pro", preferred_llm_provider="llama-3-70b"), set()),
        (UserFilter(created_from=ada.created_at, created_before=later), {ada.id, grace.id}),
        (UserFilter(created_before=ada.created_at), set()),
        (UserFilter(created_from=later), set()),
    ):
        page = await everybody.users.find_many(filters, with_total=True)
        assert {user.id for user in page.items} == matching, filters
        assert page.total == len(matching) == await everybody.users.count(filters)
        assert await everybody.users.exists(filters) is bool(matching)
        assert ((await everybody.users.find_one(filters)) is not None) is bool(matching)


async def test_find_one_is_the_first_in_the_order(everybody: DatabaseScope) -> None:
    first = await everybody.users.create(NewUser(id=new_id(), email="ada@example.com"))
    second = await everybody.users.create(NewUser(id=new_id(), email="grace@example.com"))
    assert await everybody.users.find_one() == second
    assert await everybody.users.find_one(order="oldest") == first


# Under the app login.


async def test_signing_up_stores_a_user_of_the_free_tier(app: Database, worker: Database) -> None:
    user = await app.users.sign_up(SignUp(email="Ada@example.com", **EVERYTHING))
    assert user.subscription_tier == "free"
    assert {name: getattr(user, name) for name in EVERYTHING} == EVERYTHING
    assert await worker.users.get_by_id(user.id) == user
    assert await app.as_user(user.id).users.get_by_id(user.id) == user


async def test_a_repeated_sign_up_returns_the_stored_user(app: Database) -> None:
    new = SignUp(id=new_id(), email="ada@example.com", name="Ada")
    assert await app.users.sign_up(new) == await app.users.sign_up(new)


async def test_signing_up_with_a_taken_email_or_id_is_refused_and_shows_nothing(
    app: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    with nothing_stored(migrated):
        with pytest.raises(AlreadyExists) as email:
            await app.users.sign_up(SignUp(email=ada.email.upper()))
        with pytest.raises(AlreadyExists) as identifier:
            await app.users.sign_up(SignUp(id=ada.id, email="eve@example.com"))
    assert email.value.constraint == "users_email_key_living"
    assert identifier.value.constraint == "users_pkey"
    assert "ada" not in str(identifier.value).lower()


async def test_an_email_freed_by_deletion_can_sign_up_again(app: Database) -> None:
    email = "Ada@example.com"
    first = await app.users.sign_up(SignUp(email=email))
    assert await app.as_user(first.id).users.delete(first.id) is True
    assert await app.users.find_login(email) is None
    second = await app.users.sign_up(SignUp(email=email.lower()))
    login = await app.users.find_login(email.upper())
    assert login is not None
    assert (login.id, login.subscription_tier) == (second.id, "free")


async def test_the_app_login_neither_inserts_users_nor_sets_tiers(
    app: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    with nothing_stored(migrated):
        with pytest.raises(PermissionDenied):
            await app.users.create(NewUser(email="eve@example.com", subscription_tier="pro"))
        with pytest.raises(PermissionDenied):
            await app.as_user(ada.id).users.set_tier(ada.id, "enterprise")


async def test_a_user_changes_and_reads_themselves_under_the_app_login(
    as_ada: UserScope, ada: User
) -> None:
    users = as_ada.users
    assert await users.get_by_id(ada.id) == ada
    assert await users.find_by_email(ada.email.swapcase()) == ada
    assert (await users.find_many(with_total=True)).items == [ada]
    assert (await users.update(ada.id, UserPatch(name="Countess"))).name == "Countess"
    assert (await users.merge_settings(ada.id, {"theme": "dark"})).settings == {"theme": "dark"}
    used = await users.add_minutes(ada.id, Decimal("1.5"))
    assert used.conversation_minutes_used == Decimal("1.5")


async def test_moments_are_in_order(worker: Database) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    user = await worker.users.create(NewUser(email="ada@example.com"))
    changed = await worker.users.update(user.id, UserPatch(name="Ada"))
    assert before < user.created_at == changed.created_at < changed.updated_at
