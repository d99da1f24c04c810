"""Shapes of rows: one table a family, and `read_row`, which finds the shape of a row and reads it.

::

    pairs      a chosen and a rejected answer, in two columns
    verdicts   two answers, and a column that says which is better
    lists      several answers with ranks or scores
    thumbs     one answer, and a label or a rating
    exports    what tools for feedback write; laid out flat, and then one of the above

The first shape of the table whose columns are there and not null counts. The object in the `metadata` column
becomes the demonstration's metadata. So do columns that the shape does not use, as far as they hold a string,
a finite number, a boolean or a date (in ISO format); lists, objects, bytes, NaN and null there are left out.
Where both name the same thing, `metadata` counts.
"""

from icdpo_chains.demonstrations.files.shapes.table import (
    SHAPES,
    Reading,
    check_columns,
    fitting,
    prompt_row,
    read_row,
    recognized,
)

__all__ = ["SHAPES", "Reading", "check_columns", "fitting", "prompt_row", "read_row", "recognized"]
