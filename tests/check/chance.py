"""Random statements over a few small tables: joins, CTEs, groups, sets, writes with RETURNING."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

SCHEMA: Final = """
CREATE SCHEMA chance;
CREATE TABLE chance.a (
    id int PRIMARY KEY, n int NOT NULL, m int, r int4range NOT NULL, j jsonb NOT NULL,
    tags int[] NOT NULL, t timestamptz NOT NULL, word text NOT NULL,
    twice int GENERATED ALWAYS AS (n * 2) STORED, low int GENERATED ALWAYS AS (lower(r)) STORED,
    seen int GENERATED ALWAYS AS (m + 1) VIRTUAL
);
CREATE TABLE chance.b (
    id int PRIMARY KEY, a_id int, v int NOT NULL, w int, CHECK (w IS NOT NULL OR v < 3)
);
CREATE TABLE chance.c (k int, x int NOT NULL, CHECK (k IS NOT NULL)) PARTITION BY LIST (x);
CREATE TABLE chance.c_1 PARTITION OF chance.c FOR VALUES IN (0, 1, 2);
CREATE TABLE chance.c_2 PARTITION OF chance.c DEFAULT;
CREATE VIEW chance.d AS
SELECT a.id, a.n, b.v, b.w FROM chance.a LEFT JOIN chance.b ON b.a_id = a.id;
"""

# Columns of integers; everything else is made one by an expression.
_TABLES: Final = {
    "a": ("id", "n", "m", "twice", "low", "seen"),
    "b": ("id", "a_id", "v", "w"),
    "c": ("k", "x"),
    "d": ("id", "n", "v", "w"),
}
_OF_A: Final = (
    "length({}.word)", "cardinality({}.tags)", "array_length({}.tags, 1)", "lower({}.r)",
    "upper({}.r)", "({}.j ->> 'k')::int", "({}.j -> 'k')::int", "int4({}.j -> 'k')",
    "extract(day FROM {}.t)::int", "{}.tags[1]", "jsonb_array_length({}.j -> 'l')",
    "char_length(lower({}.word))", "({}.tags || 1)[1]", "ascii(substr({}.word, 2))",
    "nullif({}.word, '')::text IS NULL", "num_nulls({}.m, {}.n)",
)  # fmt: skip


class Chance:
    """Writes statements; the same seed writes the same."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._names = 0

    def statement(self) -> str:
        """A SELECT mostly, or a statement that writes and returns."""
        ctes: dict[str, int] = {}
        text = []
        for _ in range(self._random.choice((0, 0, 1, 1, 2))):
            name = self._name("c") if self._random.random() < 0.8 or not ctes else next(iter(ctes))
            if name in ctes:
                continue
            kind = self._random.random()
            if kind < 0.2:
                body, width = self._writing()
            elif kind < 0.4:
                body, width = self._recursive(name)
            else:
                body, width = self._select(ctes, 2)
            columns = ", ".join(f"x{number}" for number in range(width))
            text.append(f"{name} ({columns}) AS ({body})")
            ctes[name] = width
        if self._random.random() < 0.15 and not ctes:
            return self._writing()[0]
        body, _ = self._select(ctes, 2)
        return (f"WITH RECURSIVE {', '.join(text)} " if text else "") + body

    def rows(self) -> str:
        """Statements that fill the empty tables, some of them with nothing."""
        pick = self._random.choice
        filled = []
        for number in range(pick((0, 1, 4))):
            values = (
                str(number), str(pick((0, 1, 2, 5))), pick(("NULL", "1", "2", "5")),
                pick(("'empty'", "'[1,5)'", "'(,5)'", "'(1,)'")),
                pick(("""'{"k": null}'""", """'{"k": 1}'""", "'{}'", """'{"l": [1]}'""")),
                pick(("'{}'", "'{1}'", "'{NULL}'")), pick(("'infinity'", "now()")),
                pick(("''", "'x'", "'xyz'")),
            )  # fmt: skip
            filled.append(
                f"INSERT INTO chance.a (id, n, m, r, j, tags, t, word) VALUES ({', '.join(values)})"
            )
        for number in range(pick((0, 1, 4))):
            v = pick((0, 1, 2, 3, 5))
            w = pick(("1", "2", "NULL")) if v < 3 else "4"
            filled.append(
                f"INSERT INTO chance.b VALUES ({number}, {pick(('NULL', '0', '1', '2'))}, {v}, {w})"
            )
        filled += [
            f"INSERT INTO chance.c VALUES ({number}, {pick((0, 1, 2, 7))})"
            for number in range(pick((0, 2)))
        ]
        return "; ".join(filled)

    def _name(self, letter: str) -> str:
        self._names += 1
        return f"{letter}{self._names}"

    def _maybe(self, share: float, text: Callable[[], str]) -> str:
        return text() if self._random.random() < share else ""

    def _select(self, ctes: dict[str, int], depth: int) -> tuple[str, int]:
        if depth and self._random.random() < 0.15:
            left, width = self._select(ctes, depth - 1)
            right, _ = self._select_of(ctes, depth - 1, width)
            word = self._random.choice(("UNION ALL", "UNION", "INTERSECT", "EXCEPT"))
            return f"({left}) {word} ({right})", width
        return self._select_of(ctes, depth, self._random.randint(1, 3))

    def _select_of(self, ctes: dict[str, int], depth: int, width: int) -> tuple[str, int]:
        source, columns = self._from(ctes, depth)
        where = self._maybe(0.5, lambda: f" WHERE {self._predicate(columns)}")
        kind = self._random.random()
        if kind < 0.15:
            made = [self._aggregate(columns) for _ in range(width)]
            having = self._maybe(0.2, lambda: f" HAVING {self._aggregate(columns)} > 0")
            return f"SELECT {', '.join(made)} FROM {source}{where}{having}", width
        if kind < 0.35:
            groups = self._random.sample(columns, k=min(2, len(columns)))
            form = self._random.choice(
                ("{}", "{}", "ROLLUP ({})", "CUBE ({})", "GROUPING SETS (({}), ())")
            ).format(", ".join(groups))
            made = [
                self._random.choice((self._random.choice(groups), self._aggregate(columns)))
                for _ in range(width)
            ]
            return f"SELECT {', '.join(made)} FROM {source}{where} GROUP BY {form}", width
        made = [self._expression(columns, 2) for _ in range(width)]
        if kind < 0.42:
            made[0] = self._random.choice(
                (
                    f"lag({self._random.choice(columns)}) OVER ()",
                    f"sum({self._random.choice(columns)}) OVER ()",
                    "row_number() OVER ()::int",
                )
            ).replace("OVER ()::int", "OVER ()")
        distinct = self._maybe(0.1, lambda: "DISTINCT ")
        tail = self._maybe(0.15, lambda: " ORDER BY 1 LIMIT 3")
        return f"SELECT {distinct}{', '.join(made)} FROM {source}{where}{tail}", width

    def _from(self, ctes: dict[str, int], depth: int) -> tuple[str, list[str]]:
        source, columns = self._relation(ctes, depth, [])
        for _ in range(self._random.choice((0, 0, 1, 1, 2))):
            lateral = columns if self._random.random() < 0.3 else []
            right, more = self._relation(ctes, depth, lateral)
            word = self._random.choice(
                ("INNER", "LEFT", "LEFT", "CROSS") if lateral else
                ("INNER", "LEFT", "LEFT", "RIGHT", "FULL", "CROSS")
            )  # fmt: skip
            if word == "CROSS":
                source = f"{source} CROSS JOIN {right}"
            else:
                # What FULL JOIN takes.
                on = f"{self._random.choice(columns)} = {self._random.choice(more)}"
                if word != "FULL" and self._random.random() < 0.3:
                    on = self._predicate(columns + more)
                source = f"{source} {word} JOIN {right} ON {on}"
            columns = columns + more
        return source, columns

    def _relation(
        self, ctes: dict[str, int], depth: int, lateral: list[str]
    ) -> tuple[str, list[str]]:
        name = self._name("t")
        kind = self._random.random()
        if lateral and depth:
            inner, columns = self._relation(ctes, 0, [])
            made = [self._expression(columns + lateral, 1) for _ in range(2)]
            where = self._maybe(0.5, lambda: f" WHERE {self._predicate(columns + lateral)}")
            text = f"LATERAL (SELECT {', '.join(made)} FROM {inner}{where}) AS {name} (x0, x1)"
            return text, [f"{name}.x0", f"{name}.x1"]
        if kind < 0.2 and depth:
            body, width = self._select(ctes, depth - 1)
            names = [f"x{number}" for number in range(width)]
            return f"({body}) AS {name} ({', '.join(names)})", [f"{name}.{each}" for each in names]
        if kind < 0.4 and ctes:
            cte = self._random.choice(list(ctes))
            return f"{cte} AS {name}", [f"{name}.x{number}" for number in range(ctes[cte])]
        if kind < 0.5:
            rows = self._random.choice(("(1, 2)", "(1, 2), (NULL, 3)", "(NULL::int, NULL::int)"))
            return f"(VALUES {rows}) AS {name} (x0, x1)", [f"{name}.x0", f"{name}.x1"]
        if kind < 0.55:
            return f"unnest(ARRAY[1, NULL]) AS {name} (x0)", [f"{name}.x0"]
        table = self._random.choice(list(_TABLES))
        columns = [f"{name}.{each}" for each in _TABLES[table]]
        if table == "a":
            columns += [each.replace("{}", name) for each in self._random.sample(_OF_A, 3)]
            columns = [each for each in columns if "IS NULL" not in each]
        return f"chance.{table} AS {name}", columns

    def _expression(self, columns: Sequence[str], depth: int) -> str:
        pick = self._random.choice
        if depth == 0 or self._random.random() < 0.5:
            return pick((*columns, *columns, "1", "NULL::int"))
        one, other = (self._expression(columns, depth - 1) for _ in range(2))
        return pick(
            (
                f"coalesce({one}, {other})",
                f"({one} + {other})::int",
                f"nullif({one}, {other})",
                f"greatest({one}, {other})",
                f"abs({one})",
                f"CASE WHEN {self._predicate(columns)} THEN {one} ELSE {other} END",
                f"CASE WHEN {self._predicate(columns)} THEN {one} END",
                f"(SELECT max(q.v) FROM chance.b AS q WHERE q.v > {one})",
                f"(SELECT count(*)::int FROM chance.b AS q WHERE q.v > {one})",
                "(SELECT coalesce(sum(q.w), 0)::int FROM chance.b AS q)",
                f"(SELECT q.v FROM chance.b AS q WHERE q.w = {one} LIMIT 1)",
                f"(SELECT {one})",
                f"(ARRAY[{one}, {other}])[1]",
                "cardinality(ARRAY(SELECT q.w FROM chance.b AS q))",
                f"num_nulls({one}, {other})",
                f"length(concat({one}, {other}))",
                f"({self._predicate(columns)})::int",
            )
        )  # fmt: skip

    def _aggregate(self, columns: Sequence[str]) -> str:
        column = self._random.choice(columns)
        return self._random.choice(
            (
                "count(*)::int",
                f"max({column})::int",
                f"sum({column})::int",
                f"coalesce(min({column}), 0)::int",
                f"(max({column}) FILTER (WHERE {self._predicate(columns)}))::int",
                f"cardinality(array_agg({column}))",
                f"(avg({column}) + 1)::int",
            )
        )

    def _predicate(self, columns: Sequence[str]) -> str:
        pick = self._random.choice
        one, other = pick(columns), pick((*columns, "1", "2"))
        simple = pick(
            (
                f"{one} IS NOT NULL",
                f"{one} IS NOT NULL",
                f"{one} = {other}",
                f"{one} >= {other}",
                f"{one} IS NULL",
                f"{one} IS DISTINCT FROM {other}",
                f"{one} IN (1, 2)",
                f"EXISTS (SELECT FROM chance.b AS q WHERE q.v = {one})",
                f"{one} NOT IN (SELECT q.w FROM chance.b AS q)",
            )
        )
        kind = self._random.random()
        if kind < 0.15:
            return f"({simple} OR {pick(columns)} IS NOT NULL)"
        if kind < 0.3:
            return f"({simple} AND {pick(columns)} IS NOT NULL)"
        return f"NOT ({simple})" if kind < 0.4 else simple

    def _recursive(self, name: str) -> tuple[str, int]:
        second = self._random.choice(
            ("r.x1", "nullif(r.x1, 1)", "r.x0", "NULL", "(SELECT max(q.w) FROM chance.b AS q)")
        )
        first = self._random.choice(("1", "NULL::int"))
        join = self._random.choice(
            ("", " LEFT JOIN chance.b AS o ON o.id = r.x0", " INNER JOIN chance.b AS o ON true")
        )
        second = self._random.choice((second, "o.v")) if join else second
        text = f"SELECT 1, {first} UNION SELECT r.x0 + 1, {second} FROM {name} AS r{join}"
        return f"{text} WHERE r.x0 < 3", 2

    def _writing(self) -> tuple[str, int]:
        returned = ", ".join(self._random.choice(("b.v", "b.w", "b.id", "b.w + b.v")) for _ in "ab")
        value = self._random.choice(
            ("1", "NULL", "b.w", "b.v", "a.n", "a.m", "coalesce(a.m, b.v)", "b.w + 0")
        )
        where = self._predicate(["b.v", "b.w", "a.m", "a.n"])
        kind = self._random.random()
        if kind < 0.4:
            more = self._random.choice((", a.m", ", a.n", ""))
            text = f"UPDATE chance.b AS b SET w = {value} FROM chance.a AS a WHERE {where}"
            return f"{text} RETURNING {returned}{more}", 3 if more else 2
        if kind < 0.6:
            text = f"DELETE FROM chance.b AS b USING chance.a AS a WHERE {where}"
            return f"{text} RETURNING {returned}, a.m", 3
        if kind < 0.7:
            text = (
                "MERGE INTO chance.b AS b USING chance.a AS a ON a.id = b.a_id "
                f"WHEN MATCHED THEN UPDATE SET w = {value} "
                "WHEN NOT MATCHED THEN INSERT VALUES (a.id + 100, NULL, 1, NULL)"
            )
            return f"{text} RETURNING {returned}, a.m", 3
        conflict = self._random.choice(
            ("", " ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO UPDATE SET v = 1, w = NULL")
        )
        inserted = value if "b." not in value and "a." not in value else "a.m"
        number = f"a.id + {self._random.choice((0, 100))}"
        text = f"INSERT INTO chance.b AS b SELECT {number}, a.m, 1, {inserted} FROM chance.a AS a"
        return f"{text}{conflict} RETURNING {returned}", 2
