"""What reception raises of its own."""

from __future__ import annotations

from gantry_dicom.errors import Unavailable


class Undecided(Unavailable):
    """The store failed so late that the instance may appear all the same.

    The batch's manifest already names it as unanswered, and who reads that may find an object which
    the store never confirmed. The sender must be told neither success nor failure: lose the connection.
    """
