"""What every plugin goes through, whatever its kind."""


class Plugin:
    """One instance of a plugin. The host makes several, and throws one away when it likes; they share nothing.

    `__init__` is called before anything else: read `config` there. What it raises fails the call that needed the
    instance.
    """

    def self_test(self) -> None:
        """Whether the plugin works at all; called when it is loaded. What it raises keeps it from being loaded."""

    def export_state(self) -> bytes:
        """What the instance of the next version should know, when this plugin is replaced while the database
        serves. Asked only of a plugin with `max_instances = 1`. By default nothing."""
        return b""

    def import_state(self, state: bytes, version: str) -> None:
        """Takes over what the instance of the version before exported; `version` is which one that was. By
        default it is let go."""

    def shutdown(self) -> None:
        """The last call when the database closes."""
