"""Words for what a number may be, for the annotations of hyperparameters: ``alpha: NonNegative``.

Whoever reads a value from a file or a command line holds it against them; a method only says them.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Gt(0), Lt(1)]
"""Between 0 and 1, and neither."""
Share = Annotated[float, Ge(0), Le(1)]
"""Between 0 and 1, or one of them."""
Count = Annotated[int, Ge(1), Lt(2**31)]
