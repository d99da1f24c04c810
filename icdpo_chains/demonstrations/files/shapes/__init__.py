"""Shapes of rows: one table for each family; `read_row` finds the shape of a row and reads it.

::

    pairs      a chosen and a rejected answer, in two columns
    verdicts   two answers, and a column that names the better one
    lists      several answers with ranks or scores
    thumbs     one answer, and a label or a rating
    exports    the exports of feedback tools; flattened to one of the other families

`SHAPES` (in `reading.py`) joins the tables in order: the first shape whose columns are present and not null
applies. The object in the `metadata` column becomes the demonstration's metadata. Unused columns with a
string, a finite number, a boolean or a date (in ISO format) become metadata too; lists, objects, bytes, NaN
and null are left out. If both have the same name, `metadata` wins.
"""

from icdpo_chains.demonstrations.files.shapes.reading import (
    SHAPES,
    Reading,
    asks,
    check_columns,
    fitting,
    prompt_row,
    read_row,
    recognized,
)

__all__ = ["SHAPES", "Reading", "asks", "check_columns", "fitting", "prompt_row", "read_row", "recognized"]
