"""Hooks that let nobody write an empty value."""

from sochdb_guest import Abort, Hooks


class MyPlugin(Hooks):
    """The hooks. Their manifest says of which tables and changes."""

    def before_insert(self, change):
        if not change.new:
            return Abort(f"'{change.table.name}' takes no empty values")

    def before_update(self, change):
        return self.before_insert(change)
