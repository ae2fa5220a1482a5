"""The verbs of a deployed site: ``deploy``, ``rollback``, ``releases``, ``prune``. Their work is in ``rollout.py``."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any, Dict, List, Mapping

from .. import cli
from ..console import Console
from ..errors import UsageError, printable
from . import releases, rollout, selection, shelves
from .options import NO_STORE, Options, Settings
from .provision import EnvironmentFile
from .releases import Root, build_id_of, is_build_id, release_target
from .signing import Wish


def add_parsers(subparsers: Any, common: List[argparse.ArgumentParser]) -> None:
    """Add the verbs of this module to the command line of the artifact.

    Parameters:
        subparsers: what ``ArgumentParser.add_subparsers`` returned.
        common: parsers of the options that every verb has.
    """
    careful = argparse.ArgumentParser(add_help=False)
    careful.add_argument(
        "--lock-wait",
        type=cli.seconds,
        default=0.0,
        metavar="SECONDS",
        help="wait this long for another command (default: 0)",
    )
    careful.add_argument(
        "--dry-run", action="store_true", help="check everything and print what would be done, but change nothing"
    )
    rooted = argparse.ArgumentParser(add_help=False, parents=[careful])
    rooted.add_argument("--root", required=True, type=cli.path, metavar="DIR", help=_ROOT_HELP)
    kept = argparse.ArgumentParser(add_help=False)
    kept.add_argument("--keep", type=cli.count, metavar="N", help="good releases to keep (default: 5)")
    kept.add_argument(
        "--older-than", type=cli.age, metavar="AGE", help="remove only releases older than 30d, 12h, 90m or 60s"
    )

    _add_deploy(subparsers, [*common, rooted, kept, _settings_parser()])
    _add_rollback(subparsers, [*common, rooted, _settings_parser()])
    verb = cli.add_verb(subparsers, "releases", "list the releases of a root", [*common, rooted])
    verb.add_argument(
        "--sizes", action="store_true", help="also print the size of each: its own, and shared by hard links"
    )
    verb.set_defaults(run=_run_releases)
    _add_prune(subparsers, [*common, careful, kept])


def _add_deploy(subparsers: Any, parents: List[argparse.ArgumentParser]) -> None:
    verb = cli.add_verb(subparsers, "deploy", _DEPLOY_HELP, parents)
    verb.add_argument(
        "--env-file",
        type=cli.path,
        metavar="FILE",
        help="environment.json of the release (default: that of the live release)",
    )
    cli.add_base_option(verb)
    verb.add_argument(
        "--migrate",
        choices=("auto", "check", "skip"),
        default="auto",
        help="apply migrations, only check that none is left, or skip both",
    )
    verb.add_argument("--forget", action="store_true", help="do not reuse the options of the last deployment")
    verb.add_argument(
        "--allow-dirty", action="store_true", help="also deploy a build of uncommitted changes, or without a commit"
    )
    verb.add_argument("--force", action="store_true", help="repeat every step, and reinstall a damaged release")
    _add_signature_options(verb)
    verb.set_defaults(run=_run_deploy)


def _add_rollback(subparsers: Any, parents: List[argparse.ArgumentParser]) -> None:
    verb = cli.add_verb(subparsers, "rollback", "go back to an earlier release", parents)
    verb.add_argument(
        "release",
        nargs="?",
        type=cli.named,
        metavar="ID",
        help="build id or its beginning (default: the last good release)",
    )
    verb.add_argument("--force", action="store_true", help="go to ID even if it is marked bad")
    verb.add_argument(
        "--allow-unsigned",
        action="store_true",
        help="go to a release without a signature, although the root requires one",
    )
    verb.add_argument("--not-bad", action="store_true", help="do not mark the current release as bad")
    verb.set_defaults(run=_run_rollback)


def _add_prune(subparsers: Any, parents: List[argparse.ArgumentParser]) -> None:
    verb = cli.add_verb(subparsers, "prune", "remove old releases, and unpacked wheels that nothing uses", parents)
    place = verb.add_mutually_exclusive_group(required=True)
    place.add_argument("--root", type=cli.path, metavar="DIR", help=_ROOT_HELP)
    place.add_argument(
        "--store",
        dest="only_store",
        type=cli.named,
        metavar="DIR",
        help="remove wheels that no installation uses from this store",
    )
    verb.set_defaults(run=_run_prune)


def _add_signature_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("signature")
    require = group.add_mutually_exclusive_group()
    require.add_argument(
        "--require-signature",
        action="store_true",
        default=None,
        help="require a signature, now and for every later installation below ROOT",
    )
    require.add_argument(
        "--no-require-signature", dest="require_signature", action="store_false", help="no longer require signatures"
    )
    cli.add_signature_options(group)


_ROOT_HELP = "folder of the site, with current and releases"
_DEPLOY_HELP = "install a release, make it live and check that it answers; otherwise go back"
_RESTART_HELP = (
    "mod_wsgi-sigusr1[:GROUP], httpd-graceful[:PIDFILE], systemd:UNIT, touch[:PATH], command:COMMAND or none"
)
_CONFIG_PATH_HELP = "path of the server's configuration in the release; if it changed, restart httpd gracefully"


def _settings_parser() -> argparse.ArgumentParser:
    """Return the options that a root remembers; None means: as last time."""
    parser = argparse.ArgumentParser(add_help=False)
    _add_web_options(parser.add_argument_group("web server"))
    _add_health_options(parser.add_argument_group("health check"))
    _add_host_options(parser.add_argument_group("host"))
    return parser


def _add_web_options(web: Any) -> None:
    web.add_argument("--restart", metavar="STRATEGY", help=_RESTART_HELP)
    web.add_argument("--first-restart", metavar="STRATEGY", help="how to start the server after the first deployment")
    web.add_argument(
        "--restart-timeout", type=cli.seconds, metavar="SECONDS", help="limit for the restart (default: 120)"
    )
    web.add_argument("--httpd-pid-file", metavar="FILE", help="signal only children of the httpd with this PID file")
    web.add_argument(
        "--config-test", metavar="COMMAND", help="tests the server's configuration; {release} is replaced by its path"
    )
    web.add_argument("--httpd-env", metavar="FILE", help="file of KEY=VALUE lines, the environment of --config-test")
    web.add_argument("--config-path", metavar="PATH", help=_CONFIG_PATH_HELP)
    web.add_argument(
        "--wsgi-script", metavar="PATH", help="file that touch touches, in the release (default: the WSGI module's)"
    )
    web.add_argument("--wsgi-module", metavar="MODULE[:NAME]", help="WSGI callable to use instead of the artifact's")
    web.add_argument("--asgi-module", metavar="MODULE[:NAME]", help="ASGI callable to use instead of the artifact's")


def _add_health_options(proof: Any) -> None:
    proof.add_argument(
        "--health-url", metavar="URL", help="must answer 200 with the build id, in X-Build-Id or the body"
    )
    proof.add_argument(
        "--health-header", dest="health_headers", action="append", metavar="'NAME: VALUE'", help="header to send"
    )
    proof.add_argument("--health-count", type=cli.count, metavar="N", help="right answers in a row (default: 10)")
    proof.add_argument(
        "--health-timeout", type=cli.seconds, metavar="SECONDS", help="limit for the whole check (default: 60)"
    )


def _add_host_options(host: Any) -> None:
    host.add_argument("--owner", metavar="USER", help="owner of shared folders; its group may read environment.json")
    host.add_argument("--group", metavar="GROUP", help="group of the web server (default: the group of --owner)")
    host.add_argument("--run-as", metavar="USER", help="user that runs the management commands")
    host.add_argument(
        "--shared", action="append", metavar="NAME=PATH", help="link PATH in the release to ROOT/shared/NAME"
    )
    host.add_argument(
        "--link", dest="links", action="append", metavar="PATH=TARGET", help="link PATH in the release to TARGET"
    )
    host.add_argument(
        "--manage", action="append", metavar="'COMMAND ...'", help="management command to run after migrate"
    )
    host.add_argument(
        "--createcachetable",
        dest="manage",
        action="append_const",
        const="createcachetable",
        help="run createcachetable",
    )
    host.add_argument(
        "--keep-static",
        type=cli.days,
        metavar="DAYS",
        help="keep hashed static files of earlier releases this long (default: 30)",
    )
    host.add_argument(
        "--store",
        type=_absolute,
        metavar="DIR",
        help="store of unpacked wheels (default: ROOT/.deploy/store)",
    )
    host.add_argument(
        "--no-store", dest="store", action="store_const", const=NO_STORE, help="do not share files between releases"
    )
    host.add_argument(
        "--step-timeout", type=cli.seconds, metavar="SECONDS", help="limit for each command (default: 1800)"
    )


def _absolute(text: str) -> str:
    return os.path.abspath(cli.named(text))


def _options(arguments: argparse.Namespace) -> Options:
    """Return the options that were given; what the root remembers is read under its lock."""
    given = {key: getattr(arguments, key, None) for key in Settings._fields}
    env_file = getattr(arguments, "env_file", None)
    return Options(
        given={key: value for key, value in given.items() if value is not None},
        forget=getattr(arguments, "forget", False),
        env_file=None if env_file is None else EnvironmentFile(env_file),
        base=tuple(getattr(arguments, "base", None) or ()),
        migrate=getattr(arguments, "migrate", "auto"),
        force=getattr(arguments, "force", False),
        allow_dirty=getattr(arguments, "allow_dirty", False),
        allow_unsigned=getattr(arguments, "allow_unsigned", False),
        lock_wait=arguments.lock_wait,
        signing=_wish(arguments),
        workers=arguments.workers,
    )


def _wish(arguments: argparse.Namespace) -> Wish:
    texts = cli.signature_options(arguments)
    return Wish(getattr(arguments, "require_signature", None), *texts)


def _run_deploy(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    root = Root(arguments.root)
    options = _options(arguments)
    if arguments.dry_run:
        plan = rollout.planned_deploy(archive, root, options, console)
        console.result(plan, _plan_text(plan))
        return 0
    outcome = rollout.deploy(archive, root, options, console)
    console.outcome(outcome.document(), outcome.text())
    return 0


def _run_rollback(arguments: argparse.Namespace, _archive: str, console: Console) -> int:
    root = Root(arguments.root)
    options = _options(arguments)
    if arguments.dry_run:
        _remembered(root, options)
        target = selection.rollback_target(root, arguments.release, options.force)
        rollout.check_target(root, target, options.allow_unsigned)
        name = build_id_of(target) or target
        console.result({"verb": "rollback", "dry_run": True, "changed": True, "release": name}, f"would go to {name}")
        return 0
    outcome = rollout.rollback(root, arguments.release, options, not arguments.not_bad, console)
    console.outcome(outcome.document(), outcome.text())
    return 0


def _remembered(root: Root, options: Options) -> Options:
    """Return *options* with what the root remembers, after the checks of every verb; nothing is locked."""
    rollout.check(root)
    rollout.check_is_root(root)
    settled = options.settled(selection.folded(root).options)
    settled.settings.check()
    return settled


def _run_releases(arguments: argparse.Namespace, _archive: str, console: Console) -> int:
    root = Root(arguments.root)
    releases.check_folder(root)
    rows = selection.listing(root)
    documents, lines = [], []
    for row in rows:
        sizes = _sizes(root, row) if arguments.sizes else {}
        shown = "  {own_bytes:>13,} own  {shared_bytes:>13,} shared".format(**sizes) if sizes else ""
        text = f"{row.release:32}  {row.state:9}  {row.time:20}  {_commit(row):13}{shown}  {row.by}{_signer(row)}"
        lines.append(printable(text))
        documents.append({**row._asdict(), **sizes})
    console.result({"verb": "releases", "releases": documents}, "\n".join(lines) or "none")
    return 0


def _sizes(root: Root, row: selection.Row) -> Dict[str, int]:
    folder = root.folder(release_target(row.release) if is_build_id(row.release) else row.release)
    use = shelves.disk_use(str(folder))
    return {"own_bytes": use.own, "shared_bytes": use.shared}


def _commit(row: selection.Row) -> str:
    """Return the commit as the list shows it: a plus for a release that holds more than it."""
    return row.commit[:12] + ("+" if row.dirty else "")


def _signer(row: selection.Row) -> str:
    return f"  signed by {row.signed_by}" if row.signed_by else ""


def _run_prune(arguments: argparse.Namespace, _archive: str, console: Console) -> int:
    if arguments.only_store is not None:
        return _run_prune_store(arguments, console)
    root = Root(arguments.root)
    options = _options(arguments)
    if arguments.dry_run:
        settings = _remembered(root, options).settings
        gone = tuple(selection.prunable(root, settings.keep, settings.older_than, time.time()))
    else:
        gone = rollout.prune(root, options, console)
    names = [build_id_of(target) or target for target in gone]
    document = {"verb": "prune", "dry_run": arguments.dry_run, "changed": bool(gone), "pruned": names}
    (console.result if arguments.dry_run else console.outcome)(document, "\n".join(names) or "nothing to remove")
    return 0


def _run_prune_store(arguments: argparse.Namespace, console: Console) -> int:
    for option, value in (("--keep", arguments.keep), ("--older-than", arguments.older_than)):
        if value is not None:
            raise UsageError(option, "is about releases, and a store has none", "Leave it out, or give --root")
    gone = shelves.prune(arguments.only_store, arguments.lock_wait, arguments.dry_run, console)
    document = {
        "verb": "prune",
        "store": os.path.abspath(arguments.only_store),
        "dry_run": arguments.dry_run,
        "changed": bool(gone),
        "pruned": gone,
    }
    (console.result if arguments.dry_run else console.outcome)(document, "\n".join(gone) or "nothing to remove")
    return 0


def _plan_text(plan: Mapping[str, Any]) -> str:
    if not plan["changed"]:
        return f"{plan['release']} is live already: nothing would be changed"
    lines = [
        f"would {'install and ' if plan['install'] else ''}make live {plan['release']}",
        f"on failure back to {plan['back_to'] or 'no release'}; migrate: {plan['migrate']}",
    ]
    return "\n".join(lines + [f"  {key} = {value}" for key, value in plan["settings"].items() if value])
