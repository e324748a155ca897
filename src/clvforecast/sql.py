"""Names and texts in SQL statements."""


def quoted(name: str) -> str:
    """An SQL identifier, safe for any column name."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string literal, safe for any text."""
    return "'" + text.replace("'", "''") + "'"
