"""The site of the Plain Terms Office, a public office that does not exist: settings, addresses and WSGI callable."""

from cfgov.sqlite import replace_old_sqlite

# Here, because every way into the project (settings, WSGI, commands) imports this package before Django's backends.
replace_old_sqlite()
