"""Checks of the numbers that a user gives."""


def check_number(key: str, value: object, wanted: type | tuple[type, ...] = (int, float)) -> None:
    """Refuse what YAML reads as a text, e.g. 1e-3 without a point."""
    if isinstance(value, bool) or not isinstance(value, wanted):
        kind = "a whole number" if wanted is int else "a number (1e-3 is written 1.0e-3 in YAML)"
        raise ValueError(f"{key}={value}: is not {kind}")


def check_count(key: str, value: object, least: int = 1) -> None:
    """Refuse what is not a whole number from `least` on."""
    check_number(key, value, int)
    if isinstance(value, int) and value < least:
        raise ValueError(f"{key}={value}: give a number from {least}")
