"""For `make docs`: shows the section `Example:` of a docstring as the program that it is."""

import griffe


class Examples(griffe.Extension):
    """Renames the section to `Examples:`, which is what griffe knows."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        """Look at every docstring that is read."""
        if obj.docstring is not None:
            lines = obj.docstring.value.splitlines()
            lines = ["Examples:" if line == "Example:" else line for line in lines]
            obj.docstring.value = "\n".join(lines)
