"""Uploads straight to the store: decided first, bound by a signature, verified before anybody can read them.

Callers use these names. Must not sign: every link is issued by the door.
"""

from __future__ import annotations

from gateway.uploads.blobs import redeem, redeem_later, signed_id_of
from gateway.uploads.finalizing import Finalized, finalize
from gateway.uploads.later import RETRY_SECONDS, finalize_later
from gateway.uploads.permission import own
from gateway.uploads.planning import Guarantees, PartWanted, Wanted, part_count, planned_part
from gateway.uploads.sessions import Begun, Received, abort, begin, look, sign_parts
from gateway.uploads.uppy import uppy_endpoint

__all__ = [
    "RETRY_SECONDS",
    "Begun",
    "Finalized",
    "Guarantees",
    "PartWanted",
    "Received",
    "Wanted",
    "abort",
    "begin",
    "finalize",
    "finalize_later",
    "look",
    "own",
    "part_count",
    "planned_part",
    "redeem",
    "redeem_later",
    "sign_parts",
    "signed_id_of",
    "uppy_endpoint",
]
