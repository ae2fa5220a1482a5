"""The steps of a deployment, each a function of its context that says in a few words what it did."""

from __future__ import annotations

import os
import shlex
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from .. import durable
from ..artifact import manifests
from ..artifact.environment import contract_of
from ..artifact.zipreader import Artifact
from ..errors import DeploymentError, DestinationError, UsageError
from ..install import drift, installation, preflight, sharing, soundness
from ..install.space import Need
from ..install.store import Store
from . import configuration, health, journal, links, migrations, provision, restart, signing, static
from .context import Context
from .options import Settings
from .releases import build_id_of
from .shelves import store_of
from .tool import write_tool

Named = Tuple[str, Callable[[], str]]


def preparation(context: Context, artifact: Artifact) -> List[Named]:
    """Return the steps, by name, between *check* and *switch*: none of them touches the live release."""
    return [
        ("install", lambda: install(context, artifact)),
        ("environment", lambda: place_environment(context)),
        ("shared", lambda: place_shared(context)),
        ("labels", lambda: links.relabel(context.release, context.log())),
        ("django-check", lambda: check_django(context)),
        ("collectstatic", lambda: collect_static(context)),
        ("wsgi", lambda: load_application(context)),
        ("migrate", lambda: migrations.migrate(context)),
        ("manage", lambda: manage_more(context)),
        ("config-test", lambda: configuration.check(context)),
    ]


def check(context: Context, artifact: Artifact) -> str:
    """Refuse what can be refused before anything is written."""
    _check_source(artifact, context.options.allow_dirty)
    if replaces(context) or not context.root.is_complete(context.release.name):
        release, store = str(context.release), store_of(context.root, context.settings)
        if store:
            Store(sharing.normal_store(store, release)).check()
        stored = sharing.stored_members(store, artifact.manifest, release) if store else None
        found = preflight.problems(artifact.manifest, release, context.options.force, Need(artifact, stored))
        for problem in found[1:]:
            context.console.warn(str(problem))
        if found:
            raise found[0]
    context.variables = _wanted_variables(context)
    _check_environment(context, artifact)
    _check_options(context)
    context.strategy().prepare(str(context.root.path))
    return f"{artifact.manifest.project} {context.release.name}"


def replaces(context: Context) -> bool:
    """Tell whether an installed release is to be installed again: it is not as installed, and --force was given.

    Raises:
        DestinationError: it cannot run, and --force was not given.
    """
    if not context.root.is_complete(context.release.name):
        return False
    release = str(context.release)
    if not context.options.force:
        check_sound(release)
        return False
    try:
        found = drift.compare(release)
    except DestinationError:
        return True
    return bool(found.changed or found.missing or soundness.fault(release))


def check_sound(release: str) -> None:
    """Refuse an installed *release* that cannot run.

    Raises:
        DestinationError: saying why.
    """
    fault = soundness.fault(release)
    if fault:
        raise DestinationError(release, f"cannot run: {fault}", "Deploy its artifact with --force")


def _check_options(context: Context) -> None:
    """Refuse an option that holds a secret of the environment: the journal would keep it for the next command."""
    settings, secrets = context.settings, context.secrets()
    texts = {
        "--restart": [settings.restart],
        "--first-restart": [settings.first_restart],
        "--config-test": [settings.config_test],
        "--manage": settings.manage,
        "--health-header": settings.health_headers,
        "--store": [settings.store],
    }
    for option, values in texts.items():
        for key in (key for value in values for key in secrets.kept_in(value)):
            why = f"holds the value of {key}, and the journal would keep it"
            raise UsageError(option, why, f"Let the command read {key} from environment.json")


def _check_source(artifact: Artifact, allow_dirty: bool) -> None:
    """Refuse an artifact that no commit tells the content of."""
    source = artifact.manifest.source
    if allow_dirty or (source.commit and not source.dirty):
        return
    why = f"commit {source.commit[:12]} had uncommitted changes" if source.commit else "it was not built from a commit"
    fix = "Build it from a clean checkout (create --require-clean), or add --allow-dirty"
    raise DeploymentError("this artifact", f"is not deployed: {why}", fix)


def _wanted_variables(context: Context) -> Optional[Dict[str, str]]:
    """Return the new environment: of --env-file, or what the release has, or what the live release has."""
    if context.options.env_file is not None:
        return context.options.env_file.read()
    as_root = not context.settings.run_as
    own = provision.proven_environment_of(context.release, as_root)
    if own is None and context.fallback is not None:
        return provision.proven_environment_of(context.root.folder(context.fallback), as_root)
    return own


def _check_environment(context: Context, artifact: Artifact) -> None:
    """Refuse an environment that is not what the project declares; no message holds a value.

    Raises:
        DeploymentError: naming the first variable; the others are warnings.
    """
    contract = contract_of(artifact)
    if contract is None:
        return
    hints, found = provision.compared(contract, context.variables or {})
    for hint in hints:
        context.console.warn(hint)
    for problem in found[1:]:
        context.console.warn(str(problem))
    if found:
        raise found[0]


def warn(context: Context, artifact: Artifact) -> None:
    """Say what should be looked at before the release is made live."""
    console, settings = context.console, context.settings
    source = artifact.manifest.source
    if source.dirty or not source.commit:
        console.warn(f"--allow-dirty: {'uncommitted changes' if source.commit else 'no commit'} in this artifact")
    if context.variables is None:
        console.warn("no environment.json: give --env-file, or the site starts with its defaults")
    elif os.geteuid() == 0 and not settings.group:
        console.warn("no --group: only root's group can read environment.json")
    if context.options.env_file is not None and context.options.env_file.is_open_to_all():
        console.warn("the file of --env-file can be read by everybody: chmod 0640")
    for name in provision.loader_variables(context.variables or {}):
        console.warn(f"environment.json sets {name}, which changes the code that every process loads")
    if settings.restart == "none":
        console.warn("--restart none: running processes keep the release that they loaded")
    if not settings.health_url:
        console.warn("no --health-url: nothing proves that the new release answers")


def settle_signature(context: Context) -> bool:
    """Write down what artifacts must be signed with from now on; return whether that is something new.

    Raises:
        DeploymentError: it is not what this artifact was checked against: another command changed it meanwhile.
    """
    known = signing.known_policy(context.known)
    new = context.options.signing.policy(known)
    if known != context.checked.policy:
        raise DeploymentError(
            "the required signature", "was changed by another command in the meantime", "Run it again"
        )
    if new == known or not (new.required or known.required):
        return False
    if known.required and not new.required:
        context.console.warn("--no-require-signature: from now on this root accepts artifacts without a signature")
    context.write(journal.SIGNATURE, **signing.details(new))
    return True


def note_signer(context: Context) -> None:
    """Write down who signed a release that is installed already, so that a rollback to it can be allowed."""
    signer = context.checked.signer
    if signer is not None and context.known.signers.get(context.target) != signer.principal:
        context.write(journal.SIGNED, **signing.signer_details(signer))


def is_unchanged(context: Context) -> bool:
    """Tell whether the release is live, proven, and as this command would make it."""
    return (
        not context.options.force
        and context.before == context.target
        and context.known.proven[-1:] == [context.target]
        and context.target not in context.known.bad
        and context.root.is_complete(context.release.name)
        and not provision.environment_is_unproven(context.release)
        and provision.environment_of(context.release) == context.variables
        and all((context.release / path).is_symlink() for path in context.linked_paths())
        and Settings.remembered(context.known.options) == context.settings
    )


def install(context: Context, artifact: Artifact) -> str:
    """Install the artifact into the release's folder."""
    done = installation.install(
        artifact,
        str(context.release),
        workers=context.options.workers,
        wait=context.options.lock_wait,
        force=replaces(context),
        console=context.console,
        store=store_of(context.root, context.settings),
    )
    write_tool(artifact, context.root)
    source = artifact.manifest.source
    signed = signing.signer_details(context.checked.signer)
    if done.already:
        signed["already"] = True
    project = artifact.manifest.project
    context.write(journal.INSTALLED, commit=source.commit, dirty=source.dirty, project=project, **signed)
    return "was installed already" if done.already else f"{done.files} files"


def check_django(context: Context) -> str:
    """Run Django's checks for a site that is deployed."""
    skipped = context.without("check")
    if skipped:
        return skipped
    return _manage(context, "django-check", ["check", "--deploy", "--fail-level", "ERROR"])


def place_environment(context: Context) -> str:
    """Write environment.json."""
    if context.variables is None:
        return "none"
    if provision.environment_of(context.release) == context.variables:
        return "unchanged"
    provision.place_environment(context.release, context.variables, context.owners())
    number = len(context.variables)
    return f"{number} variable{'' if number == 1 else 's'}"


def place_shared(context: Context) -> str:
    """Link what releases have in common, and what is the host's."""
    shared = [links.parse_shared(text) for text in context.settings.shared]
    to_host = [links.parse_link(text) for text in context.settings.links]
    for one in shared:
        links.place_shared(context.root.shared, context.release, one, context.owners())
    for link in to_host:
        links.place_link(context.release, link)
    paths = [one.path for one in shared] + [link.path for link in to_host]
    links.record_links(context.release, paths)
    return ", ".join(paths) or "none"


def manage_more(context: Context) -> str:
    """Run the commands of --manage."""
    for text in context.settings.manage:
        _manage(context, context.secrets().hidden(f"manage {text}"), shlex.split(text))
    return context.secrets().hidden(", ".join(context.settings.manage)) or "none"


def _manage(context: Context, step: str, words: Sequence[str]) -> str:
    context.commands().manage(step, words)
    return "done"


def collect_static(context: Context) -> str:
    """Collect static files."""
    skipped = context.without("collectstatic")
    if skipped:
        return skipped
    said = static.collect(context)
    _wait_for_disk(context)  # the project's own storage may be on another file system
    return said


def load_application(context: Context) -> str:
    """Load the WSGI or ASGI callable in the release's own Python."""
    site = context.site()
    if site is None:
        return "skipped: the release has no manifest"
    lines = context.commands().python("wsgi", site.callable_arguments()).split()
    return lines[-1] if lines and manifests.is_callable(lines[-1]) else "loaded"


def go_live(context: Context) -> str:
    """Switch to the release, with everything it consists of on the disk."""
    _wait_for_disk(context)
    static.publish(context)
    said = switch(context, context.target)
    static.publish_outer(context)
    return said


def switch(context: Context, target: str) -> str:
    """Point ``current`` to *target*."""
    context.root.switch(target)
    return f"current -> {target}"


def restart_server(context: Context, target: str) -> str:
    """Let the server take up *target*."""
    strategy = context.strategy()
    release = restart.Release(context.root.folder(target), context.wsgi_script())
    said = strategy.restart(release, context.settings.restart_timeout)
    if context.config_changed and strategy.name in ("mod_wsgi-sigusr1", "touch"):
        graceful = restart.HttpdGraceful(context.settings.httpd_pid_file or None)
        said += ", " + graceful.restart(release, context.settings.restart_timeout)
        context.console.warn(
            "the server's configuration differs: httpd is restarted too, which cuts off requests of over 3 s"
        )
    return said


def prove(context: Context, target: str) -> str:
    """Ask the server until it has proven that *target* answers."""
    if not context.settings.health_url:
        return "not checked: no --health-url"
    build_id = build_id_of(target)
    proof = health.prove(context.health_check(), build_id)
    return f"{context.settings.health_count} of {proof.answers} answers in a row from {(build_id or target)[:12]}"


def _wait_for_disk(context: Context) -> None:
    """Wait until what the release's commands wrote is on the disk: they do not.

    STATIC_ROOT and the like may be on file systems of their own: those that the environment names count too.

    Raises:
        DeploymentError: it cannot be written.
    """
    named = [path for path in (context.variables or {}).values() if os.path.isabs(path) and os.path.isdir(path)]
    writable = [path for path in named if os.access(path, os.R_OK | os.W_OK)]
    for path in {os.stat(path).st_dev: path for path in [*writable, str(context.root.path)]}.values():
        try:
            durable.sync_file_system(path)
        except OSError as error:
            why = f"the disk did not take what was written ({error.strerror})"
            raise DeploymentError(path, why, "Check the disk") from error
