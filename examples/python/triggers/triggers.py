"""Triggers of a table of people: they tidy rows, refuse some, and keep a record of what changed."""

from dataclasses import dataclass

from sochdb_guest import Abort, Batch, Continue, Hooks, Skip, config, telemetry

RECORD = "people_changes"


@dataclass
class Settings:
    """What the manifest's `[config]` says."""

    rows_at_once_max: int
    youngest: int


class Triggers(Hooks):
    def __init__(self):
        self.settings = config.read(Settings)

    def before_batch(self, changes):
        most = self.settings.rows_at_once_max
        if most < len(changes):
            return Abort(f"{len(changes)} changes at once, the most is {most}")
        decided = super().before_batch(changes)
        self.record(changes, decided.results)
        return Batch(decided.results)

    def before_insert(self, change):
        row = tidy(change.new_row)
        if row["age"] is not None and row["age"] < self.settings.youngest:
            return Abort(f"{row['name']} is younger than {self.settings.youngest}")
        return Continue(row)

    def before_update(self, change):
        row = tidy(change.new_row)
        # Nothing is written, and nothing recorded, when nothing changes.
        return Skip() if row == change.old_row else Continue(row)

    def before_delete(self, change):
        if change.old_row["role"] == "owner":
            return Abort("an owner is not removed; give the role to somebody else first")

    def after_batch(self, changes):
        telemetry.count("people_changes_total", len(changes), table=changes[0].table.name)

    def record(self, changes, results):
        """Writes what will happen to another table, in the transaction of whoever changes the rows."""
        record = changes[0].tx.open(RECORD)
        for change, result in zip(changes, results):
            if isinstance(result, (Skip, Abort)):
                continue
            row = result.row if isinstance(result, Continue) else None
            before, after = change.old_row or {}, row or {}
            columns = [name for name in after or before if before.get(name) != after.get(name)]
            who = (after or before)["id"]
            record.put_row(
                {
                    "id": who,
                    "seq": self.next_seq(record, who),
                    "what": change.kind,
                    "columns": ", ".join(columns),
                }
            )

    @staticmethod
    def next_seq(record, who):
        newest = next(record.rows(prefix=[who], limit=1, reverse=True), None)
        return 1 if newest is None else newest["seq"] + 1


def tidy(row):
    """The row with a name that has single blanks, and an e-mail address in lower case."""
    name = " ".join(row["name"].split())
    email = row["email"] and row["email"].strip().lower()
    return {**row, "name": name, "email": email}
