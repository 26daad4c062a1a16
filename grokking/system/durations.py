"""Durations and counts in words."""


def clock(seconds: float, hours: bool = False) -> str:
    """Seconds as M:SS, or as H:MM:SS from an hour on or where `hours` are asked for."""
    minutes, rest = divmod(round(seconds), 60)
    whole, minutes = divmod(minutes, 60)
    return f"{whole}:{minutes:02}:{rest:02}" if whole or hours else f"{minutes}:{rest:02}"


def counted(count: int, thing: str) -> str:
    """1 run, 2 runs."""
    return f"{count:,} {thing}{'s' if count != 1 else ''}"
