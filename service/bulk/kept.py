"""The columns of the inputs beside ours: of which type each is, over all rows, and their part of a table.

Parquet columns keep their type. Of JSON and text a column is what all its values are (a whole number, a
number, a string, true or false, a list of strings); one that holds several kinds is the JSON text of each. A
column of nulls alone is one of strings, unless another input says what it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import orjson

from service.bulk.rows import Row
from service.refusal import Refusal

Kind = Literal["null", "bool", "int", "float", "string", "strings", "json"]

MAX_COLUMNS = 1000
"""Of all rows together: objects whose fields' names are data would make one for each."""

_INT64 = range(-(2**63), 2**63)


class KeptColumns:
    """Told of every row by the plan; then it makes the tables of the shards."""

    def __init__(self, taken: Collection[str]) -> None:
        """taken: names that columns of ours have."""
        self._taken = taken
        self._kinds: dict[str, Kind] = {}
        self._schemas: list[Any] = []  # of Parquet inputs
        self._schema: Any = None

    def note(self, row: Row) -> None:
        """Take in the columns of one more row. Raises Refusal when there are too many."""
        if row.error is not None:
            return
        if not isinstance(row.kept, Mapping):
            if row.kept.schema not in self._schemas:
                self._schemas.append(row.kept.schema)
            return
        for name, value in row.kept.items():
            self._kinds[name] = _joined(self._kinds.get(name, "null"), _kind(value))
        if len(self._kinds) > MAX_COLUMNS:
            raise Refusal(f"INPUT: expected at most {MAX_COLUMNS} columns or fields, got more")

    def schema(self) -> Any:
        """Return the schema of all tables, every column under the name that the input gives it."""
        import pyarrow as pa

        if self._schema is None:
            text = pa.schema([pa.field(name, _type(kind)) for name, kind in self._kinds.items()])
            plain = [schema.remove_metadata() for schema in self._schemas]
            with _one_type():
                together = pa.unify_schemas([text, *plain], promote_options="permissive")
            unknown = {name for name, kind in self._kinds.items() if kind == "null"}
            self._schema = pa.schema(
                field.with_type(pa.string())
                if field.name in unknown and pa.types.is_null(field.type)
                else field
                for field in together
            )
        return self._schema

    def names(self) -> list[str]:
        """Return what the columns are called in the output: input_NAME where NAME is one of ours.

        Raises Refusal when two inputs have columns of one name that do not fit together, or when a column
        cannot get another name.
        """
        given = set(self.schema().names)
        return [self._renamed(name, given) for name in self.schema().names]

    def table(self, rows: Sequence[Row]) -> Any:
        """Return a table with a row for each of `rows`, which are of one input and good.

        Raises Refusal when a value does not fit into the type that its column has over all inputs.
        """
        import pyarrow as pa

        schema = self.schema()
        if rows and not isinstance(rows[0].kept, Mapping):
            found = pa.Table.from_batches([row.kept for row in rows]).combine_chunks()
        else:
            found = pa.table({name: self._array(name, rows) for name in self._kinds})
        nothing = [pa.nulls(len(rows), field.type) for field in schema]
        with _one_type():
            columns = [
                found[field.name].cast(field.type) if field.name in found.column_names else null
                for field, null in zip(schema, nothing, strict=True)
            ]
        return pa.Table.from_arrays(columns, names=self.names())

    def _array(self, name: str, rows: Iterable[Row]) -> Any:
        import pyarrow as pa

        kind = self._kinds[name]
        values = (row.kept.get(name) for row in rows)
        if kind == "json":
            # A field that is not there is no null that is written.
            values = (orjson.dumps(row.kept[name]).decode() if name in row.kept else None for row in rows)
        elif kind == "float":
            # Arrow refuses whole numbers above 2^53; to most readers of JSON they are floats, too.
            values = (None if value is None else float(value) for value in values)
        return pa.array(values, _type(kind))

    def _renamed(self, name: str, given: Collection[str]) -> str:
        while name in self._taken:
            name = f"input_{name}"
            if name in given:
                raise Refusal(f"INPUT: expected no column {name}, which is to be the new name of another")
        return name


@contextmanager
def _one_type() -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except pa.ArrowException as error:
        raise Refusal(f"INPUT: expected columns of one name to be of one type: {error}") from None


def _kind(value: Any) -> Kind:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int():
            return "int" if value in _INT64 else "json"
        case float():
            return "float"
        case str():
            return "string"
        case list() if all(isinstance(item, str) for item in value):
            return "strings"
    return "json"


def _joined(one: Kind, other: Kind) -> Kind:
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    return "float" if {one, other} == {"int", "float"} else "json"


def _type(kind: Kind) -> Any:
    import pyarrow as pa

    match kind:
        case "null":
            return pa.null()
        case "bool":
            return pa.bool_()
        case "int":
            return pa.int64()
        case "float":
            return pa.float64()
        case "strings":
            return pa.list_(pa.string())
    return pa.string()
