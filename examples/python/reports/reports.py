"""Procedures about any table: what its numbers are, and which of its rows are there twice."""

import statistics
from collections import defaultdict

from sochdb_guest import Error, Kind, Procedures, procedure

SUMMARY = {
    "type": "object",
    "properties": {
        "table": {"type": "string"},
        "column": {"type": "string", "minLength": 1},
        "by": {"type": "string"},
    },
    "required": ["table", "column"],
    "additionalProperties": False,
}
DUPLICATES = {
    "type": "object",
    "properties": {
        "table": {"type": "string"},
        "column": {"type": "string"},
        "delete": {"type": "boolean"},
    },
    "required": ["table", "column"],
    "additionalProperties": False,
}


class Reports(Procedures):
    @procedure(args=SUMMARY, read_only=True)
    def summary(self, tx, args):
        """Count, mean, median and deviation of a column's numbers, for each value of another if `by` names one."""
        table, column, by = tx.open(args["table"]), args["column"], args.get("by")
        if table.schema is None or table.schema.column(column).kind not in (
            Kind.INT64,
            Kind.FLOAT64,
        ):
            raise Error.invalid(f"column '{column}' has no numbers")
        groups = defaultdict(list)
        for row in table.rows(columns=[column, by] if by else [column]):
            if row[column] is not None:
                groups[row[by] if by else None].append(row[column])
        if by is None:
            return figures(groups[None])
        return [
            {by: group, **figures(numbers)}
            for group, numbers in sorted(groups.items(), key=by_text)
        ]

    @procedure(args=DUPLICATES)
    def duplicates(self, tx, args):
        """The rows whose text, blanks and case aside, an earlier row has; with `delete` they go."""
        table = tx.open(args["table"])
        seen, again = {}, []
        for row in table.rows():
            text = " ".join(str(row[args["column"]] or "").casefold().split())
            key = [row[name] for name in table.schema.key]
            if text and text in seen:
                again.append({"key": key, "same_as": seen[text]})
            seen.setdefault(text, key)
        if args.get("delete"):
            for each in again:
                table.delete_row(*each["key"])
        return {"duplicates": again, "deleted": len(again) if args.get("delete") else 0}


def figures(numbers):
    """What there is to say about numbers."""
    if not numbers:
        return {"count": 0}
    return {
        "count": len(numbers),
        "least": min(numbers),
        "greatest": max(numbers),
        "mean": round(statistics.fmean(numbers), 6),
        "median": statistics.median(numbers),
        "deviation": round(statistics.pstdev(numbers), 6),
    }


def by_text(group):
    """Groups in an order that holds for nulls too."""
    return str(group[0])
