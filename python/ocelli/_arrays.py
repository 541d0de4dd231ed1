"""Arrays of the native code's bytes. numpy is imported where the first array is made, so that `import ocelli` is quick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def floats(values: bytearray, width: int) -> Floats:
    """float32 of the shape (rows, width), over the same memory."""
    import numpy as np

    return np.frombuffer(values, dtype=np.float32).reshape(-1, width)


class Table(list[dict[str, Any]]):
    """Rows as dictionaries, with the same keys. `pandas` and `polars` are imported only by the methods that need them."""

    def to_pandas(self) -> Any:
        """As a pandas DataFrame; needs pandas."""
        import pandas

        return pandas.DataFrame(list(self))

    def to_polars(self) -> Any:
        """As a polars DataFrame; needs polars."""
        import polars

        return polars.DataFrame(list(self))

    def __repr__(self) -> str:
        from ocelli._text import table

        return table(self)

    def _repr_html_(self) -> str:
        from ocelli._html import table

        return table(self)
