"""The devices' API without a listener: for tests in one process."""

from __future__ import annotations

from otaseal.server.catalog import Catalog
from otaseal.server.device_api.app import DeviceApp
from otaseal.server.device_api.enrolment import Enrolment
from otaseal.server.device_api.proofs import ProofCheck
from otaseal.server.device_api.recorder import Recorder
from otaseal.server.patches import Patches
from otaseal.server.telemetry import Telemetry
from otaseal.store.enrolments import Enrolments
from otaseal.store.labels import Labels
from otaseal.store.proof_keys import ProofKeys
from otaseal.store.release_notes import ReleaseNotes
from otaseal.store.secrets import SECRETS_FILE, Secrets
from otaseal.store.store import Store


def make_app(store: Store, recorder: Recorder, secrets: Secrets | None = None) -> DeviceApp:
    """Return the devices' API of a store, whose log nobody reads; its open `secrets` are for who keeps any in them."""
    catalog, telemetry = Catalog(store), Telemetry(lambda _: True)
    secrets = secrets or Secrets(store.directory / SECRETS_FILE)
    keys = ProofKeys(secrets)
    proofs = ProofCheck(keys, recorder, telemetry)
    enrolment = Enrolment(catalog, Enrolments(secrets), keys, telemetry)
    patches, labels, notes = Patches(catalog, None, print), Labels(secrets), ReleaseNotes(secrets)
    return DeviceApp(catalog, recorder, telemetry, proofs, enrolment, patches, labels, notes)
