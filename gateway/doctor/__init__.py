"""The doctor: examines live stores with the credentials that the service has, and says what is wrong.

Must not change a store but for its own probe, and must not stop at the first thing that is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.doctor.ages import examine_ages
from gateway.doctor.cors import examine_cors
from gateway.doctor.credentials import examine_credentials, why_unsigned
from gateway.doctor.exposure import examine_exposure, examine_place
from gateway.doctor.findings import Finding, fail, unseen
from gateway.doctor.local_disk import clean_up_local, examine_disk
from gateway.doctor.other_stores import clean_up_other, examine_others
from gateway.doctor.site import examine_site
from gateway.doctor.trip import examine_links, examine_upload
from gateway.doctor.visit import Visit

__all__ = ["Finding", "Visit", "examine", "examine_site"]


def examine(visit: Visit) -> Iterator[Finding]:
    """Examine one storage, and take the probe away again, also where nobody wants to hear the rest."""
    try:
        _ = visit.provider
    except Exception as error:
        yield fail(visit.alias, "storage", f"it cannot sign: {error}", "Mend its OPTIONS; manage.py check says more.")
        return
    if (unsigned := why_unsigned(visit)) is not None:
        yield unsigned
        return
    is_clean = False
    try:
        for part in _before(visit):
            yield from _guarded(visit, part)
        if visit.is_there:
            for part in _with_probe(visit):
                yield from _guarded(visit, part)
        for part in _after(visit):
            yield from _guarded(visit, part)
        is_clean = True
    finally:
        if not is_clean:
            # Interrupted: nothing more can be said.
            for _ in _guarded(visit, _clean_up(visit)):
                pass


def _before(visit: Visit) -> Iterator[Callable[[Visit], Iterator[Finding]]]:
    yield from (examine_place, examine_credentials)
    if visit.answers:
        yield examine_upload


def _with_probe(visit: Visit) -> Iterator[Callable[[Visit], Iterator[Finding]]]:
    yield examine_links
    yield examine_exposure
    if not visit.is_local:
        yield examine_ages
    if visit.is_s3:
        from gateway.doctor.sigv2 import examine_sigv2

        yield examine_sigv2


def _after(visit: Visit) -> Iterator[Callable[[Visit], Iterator[Finding]]]:
    if visit.answers:
        yield examine_cors
    if visit.is_s3:
        # Only here and below: a project on the local disk has no SDK.
        from gateway.doctor.s3_rights import examine_rights
        from gateway.doctor.s3_settings import examine_settings

        yield from (examine_settings, examine_rights)
    elif visit.is_local:
        yield examine_disk
    else:
        if visit.is_gcs:
            from gateway.doctor.gcs_settings import examine_gcs

            yield examine_gcs
        elif visit.is_azure:
            from gateway.doctor.azure_settings import examine_azure

            yield examine_azure
        yield examine_others
    # Also where the upload was refused: the store may have kept it all the same.
    yield _clean_up(visit)


def _clean_up(visit: Visit) -> Callable[[Visit], Iterator[Finding]]:
    if visit.is_s3:
        from gateway.doctor.s3_rights import clean_up

        return clean_up
    return clean_up_local if visit.is_local else clean_up_other


def _guarded(visit: Visit, part: Callable[[Visit], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from part(visit)
    except Exception as error:
        # Messages of SDKs may hold addresses and links.
        found = f"could not {part.__name__.replace('_', ' ')} ({type(error).__name__})"
        # A store that is not there was found already.
        say = fail if visit.answers else unseen
        yield say(visit.alias, "doctor", found, "Look at what is said above.")
