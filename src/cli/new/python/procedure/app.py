"""A procedure that counts the rows of a table."""

from sochdb_guest import Procedures, procedure

ARGS = {"type": "object", "properties": {"table": {"type": "string"}}, "required": ["table"]}
RESULT = {"type": "object", "properties": {"rows": {"type": "integer"}}, "required": ["rows"]}


class MyPlugin(Procedures):
    """The procedures. Their manifest says which tables they see."""

    @procedure(args=ARGS, result=RESULT, read_only=True)
    def count(self, tx, args):
        """Counts the rows of a table."""
        return {"rows": sum(1 for _ in tx.open(args["table"]).scan())}
