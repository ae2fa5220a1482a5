"""Static files with content hashes in their names, and one manifest for each release."""

from __future__ import annotations

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage

from cfgov.release import RELEASE


class ReleaseManifestStorage(ManifestStaticFilesStorage):
    """Lets several releases share one STATIC_ROOT.

    Hashed files of two releases live side by side, but with one common ``staticfiles.json`` the release collected
    last would take the names of the other one away: after a rollback, or in the moment between collectstatic and
    the switch, pages would end in an error. The name of the manifest therefore holds the build id.
    """

    manifest_name = f"staticfiles-{RELEASE.build_id}.json"
