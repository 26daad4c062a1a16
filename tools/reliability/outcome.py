"""What a driver counted."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Attempts made, and a line for each in which the promise was broken."""

    tried: int = 0
    broken: list[str] = field(default_factory=list)
