"""The devices' API without a listener: for tests in one process."""

from __future__ import annotations

from otaseal.server.catalog import Catalog
from otaseal.server.device_api.app import DeviceApp
from otaseal.server.device_api.enrolment import Enrolment
from otaseal.server.device_api.recorder import Recorder
from otaseal.server.telemetry import Telemetry
from otaseal.store.enrolments import Enrolments
from otaseal.store.files import Store
from otaseal.store.secrets import SECRETS_FILE, Secrets


def make_app(store: Store, recorder: Recorder) -> DeviceApp:
    """Return the devices' API of a store, whose log nobody reads."""
    catalog, telemetry = Catalog(store), Telemetry(lambda _: True)
    enrolments = Enrolments(Secrets(store.directory / SECRETS_FILE))
    return DeviceApp(catalog, recorder, telemetry, Enrolment(catalog, enrolments, telemetry))
