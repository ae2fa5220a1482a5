"""The signature that a root requires, as its journal remembers until ``--no-require-signature``."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from .. import durable
from ..artifact import layout
from ..definitions import NamedTuple
from ..errors import DeploymentError, UsageError
from ..install.signature import Demand, Signer, demand
from .journal import History, Journal, history


class Policy(NamedTuple):
    """What a root demands of every artifact that is installed in it."""

    required: bool = False
    allowed_signers: str = ""  # absolute path
    revoked_keys: str = ""  # absolute path, "": none

    def demand(self, artifact: str, signature: str) -> Demand:
        """Return what this policy means for *artifact*, whose *signature* is beside it unless another is named."""
        return demand(artifact, signature, self.allowed_signers, self.revoked_keys)


class Wish(NamedTuple):
    """What the command line says about signatures; "" and None: nothing."""

    require: Optional[bool] = None
    signature: str = ""
    allowed_signers: str = ""
    revoked_keys: str = ""

    def policy(self, known: Policy) -> Policy:
        """Return what will be demanded from now on, where *known* was demanded before.

        Raises:
            UsageError: no allowed signers are given.
        """
        allowed, revoked = (os.path.abspath(one) if one else "" for one in (self.allowed_signers, self.revoked_keys))
        required = known.required if self.require is None else self.require
        new = Policy(required, allowed or known.allowed_signers, revoked or known.revoked_keys)
        if not new.allowed_signers and (required or self.signature or revoked):
            raise UsageError("the signature", "no allowed signers are given", "Add --allowed-signers FILE")
        return new

    def demand(self, known: Policy, artifact: str) -> Optional[Demand]:
        """Return what *artifact* must be signed with, None: nothing.

        Raises:
            UsageError: as for :meth:`policy`.
        """
        policy = self.policy(known)
        checks = policy.required or self.signature or self.allowed_signers or self.revoked_keys
        return policy.demand(artifact, self.signature) if checks else None


class Checked(NamedTuple):
    """What was found out of an artifact before the root's lock was taken."""

    policy: Policy = Policy()  # what the root demanded then
    signer: Optional[Signer] = None  # None: no signature was checked


def known_policy(known: History) -> Policy:
    """Return what the root with this history demands."""
    details = known.signature
    texts = [str(details.get(key, "")) for key in ("allowed_signers", "revoked_keys")]
    return Policy(details.get("required") is True, *texts)


def details(policy: Policy) -> Dict[str, Any]:
    """Return what the journal keeps of *policy*."""
    return dict(policy._asdict())


def signer_details(signer: Optional[Signer]) -> Dict[str, Any]:
    """Return what the journal keeps of who signed a release."""
    return {} if signer is None else {"signed_by": signer.principal, "key": signer.key}


def check_rollback(known: History, current: Optional[str], target: str, allow_unsigned: bool) -> None:
    """Refuse to go back to a release whose artifact was not signed, in a root that demands a signature.

    Raises:
        DeploymentError: the journal names nobody who signed *target*.
    """
    if allow_unsigned or not known_policy(known).required or known.signers.get(target):
        return
    name = target.rpartition("/")[2]
    signed = [one.rpartition("/")[2][:12] for one in known.previous(current) if known.signers.get(one)]
    why = "its signature was never checked, and this root requires one"
    choice = f"Go back to a signed release ({', '.join(signed)})" if signed else "Deploy its signed artifact"
    raise DeploymentError(name, why, f"{choice}, or add --allow-unsigned")


def demand_of_root(destination: str, artifact: str, signature: str) -> Optional[Demand]:
    """Return what the root around *destination* demands of *artifact*, None where there is none or it demands nothing.

    Raises:
        DeploymentError: its journal cannot be read, so nothing says what it demands.
    """
    for folder in durable.upwards(os.path.realpath(destination)):
        path = os.path.join(folder, layout.JOURNAL)
        if os.path.lexists(path):
            from pathlib import Path

            policy = known_policy(history(Journal(Path(path)).read()))
            if policy.required:
                return policy.demand(artifact, signature)
    return None
