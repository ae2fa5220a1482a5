"""The time zones that an editor may choose for their account."""

from __future__ import annotations

from typing import List

try:
    from zoneinfo import available_timezones
except ImportError:  # Python 3.8
    from backports.zoneinfo import available_timezones


def of_browsers() -> List[str]:
    """Return the names of the zones in their order, without those that only this machine knows.

    Debian's database has the file ``localtime``. A browser does not know that zone, and the script of the account
    page ends at it. The names of the IANA database begin with a capital letter.
    """
    return sorted(name for name in available_timezones() if name[0].isupper() and name != "Factory")
