"""``init_command`` and ``transaction_mode`` as Django 5.1 and later understand them (ticket #29280).

A transaction that begins deferred and writes later fails at once, without waiting, when another process wrote in
between (SQLITE_BUSY_SNAPSHOT): the busy timeout helps only transactions that begin immediate.
"""

from __future__ import annotations

from typing import Any, Dict

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """One SQLite connection of Django 4.2."""

    def get_connection_params(self) -> Dict[str, Any]:
        """Return the arguments of ``sqlite3.connect``, without the options that only this class understands."""
        parameters: Dict[str, Any] = super().get_connection_params()
        self._transaction_mode = parameters.pop("transaction_mode", "DEFERRED")
        self._init_command = parameters.pop("init_command", "")
        return parameters

    def get_new_connection(self, conn_params: Dict[str, Any]) -> Any:
        """Connect, then run the commands of ``init_command``, separated by semicolons."""
        connection = super().get_new_connection(conn_params)
        for command in filter(None, self._init_command.split(";")):
            connection.execute(command)
        return connection

    def _start_transaction_under_autocommit(self) -> None:
        self.cursor().execute("BEGIN " + self._transaction_mode)
