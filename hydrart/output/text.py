"""Text that terminals can show."""


def printable(text: object) -> str:
    """The text on one line. Control characters, and bytes of file names that are no text, become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
