"""The operators' side: publish, promote, roll back, set a percentage, look. JSON over HTTPS, on a listener of its own.

Who asks shows a token or a certificate from the operator authority; without either nothing is told but /healthz and
what there is to ask (`api_schema`, from which the routes are made). Only public keys are here: a release is taken when
one of its product's keys signed it and `admission` lets it in.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, ConflictError, NotFoundError
from ...keys.public import public_pem
from ...names import check_name
from ...release import records as releases
from ...release.channels import Channel, Pointer
from ...release.records import Origin, Release
from ...release.stranding import Consent
from ...store.device_rows import STATES, Selection
from ..catalog import DEFAULT_CHANNEL, Catalog
from ..telemetry import Telemetry
from . import openapi, uploads
from .archives import Archives
from .auth import Access
from .fleet import Fleet, Seen
from .openapi import ENDPOINTS
from .publishing import Wanted, publish
from .responses import Handler, by_method, guarded, unknown
from .rollout_options import NAMES, Terms

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Facts", "Operators"]

REHEARSALS = ("passed", "partly", "skipped")
CONSENT = tuple(one.name for one in fields(Consent))


@dataclass(frozen=True)
class Facts:
    """What an operator's client has to know of the devices' listener."""

    device_port: int
    device_certificates: bool


@dataclass
class Operators:
    """The operators' endpoints over a catalog, the devices seen, and who may what."""

    catalog: Catalog
    seen: Seen
    access: Access
    telemetry: Telemetry
    facts: Facts
    archives: Archives
    _publishing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _uploads: uploads.Turns = field(default_factory=uploads.Turns, repr=False)

    @property
    def _fleet(self) -> Fleet:
        """The devices seen, by the releases they run."""
        return Fleet(self.catalog, self.seen)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        # One route a path: the first that fits a path is what a 405 lists the methods of.
        paths: dict[str, dict[str, Handler]] = {}
        for one in ENDPOINTS:
            run = guarded(getattr(self, one.handler), one, self.telemetry)
            paths.setdefault(one.path, {}).update(
                {one.method: run} if one.method != "GET" else {"GET": run, "HEAD": run}
            )
        routes = [Route(path, by_method(verbs), methods=list(verbs)) for path, verbs in paths.items()]
        refuse = unknown(self.telemetry)
        app = Starlette(routes=routes, exception_handlers={404: refuse, 405: refuse})
        app.router.redirect_slashes = False  # to an address that the client's Host header names
        return app

    async def health(self, request: Request) -> dict[str, Any]:
        """Say that the server answers and its store can be read, and what is wrong with a part of it."""
        self.catalog.store.products()
        found = [one for messages in self.telemetry.problems.values() for one in messages]
        found = list(dict.fromkeys((*found, *list(self.catalog.damage.values()))))
        return {"status": "problems", "problems": found} if found else {"status": "ok"}

    async def describe(self, request: Request) -> dict[str, Any]:
        """Return what there is, as OpenAPI."""
        return openapi.description()

    async def metrics(self, request: Request) -> Response:
        """Return the counters in Prometheus' text format."""
        from starlette.responses import PlainTextResponse

        self.access.who(request, None, None)
        gauges = {"otaseal_products": len(self.catalog.store.products())}
        return PlainTextResponse(self.telemetry.prometheus(gauges), media_type="text/plain; version=0.0.4")

    async def products(self, request: Request) -> dict[str, Any]:
        """List the products."""
        self.access.who(request, None, None)
        return {"products": list(self.catalog.store.products())}

    async def product(self, request: Request) -> dict[str, Any]:
        """Return the keys, the channels, and the current release of one channel: what a release is checked against."""
        product = self._named(request)
        self.access.who(request, product, None)
        self._require(product)
        channel = check_name(request.query_params.get("channel", DEFAULT_CHANNEL), "channel")
        current = self.catalog.current(product, channel)
        keys = {name: public_pem(key).decode() for name, key in self.catalog.keys(product).items()}
        return {
            "product": product,
            "keys": keys,
            "channels": self._channels(product),
            "current": None if current is None else _as_json(current),
            "fleet": [
                {"release": None if one.release is None else _as_json(one.release), "count": one.count}
                for one in await asyncio.to_thread(self._fleet.groups, product, channel)
            ],
            **asdict(self.facts),
        }

    async def releases(self, request: Request) -> dict[str, Any]:
        """List a product's releases, the latest first, and its channels."""
        product = self._named(request)
        self.access.who(request, product, None)
        self._require(product)
        return await asyncio.to_thread(self._releases, product)

    async def publish(self, request: Request) -> dict[str, Any]:
        """Take the signed files of a release, check them, store them, and point a channel at them."""
        product, version = self._named(request), releases.check_version(request.path_params["version"])
        query = request.query_params
        channel = check_name(query.get("channel", DEFAULT_CHANNEL), "channel")
        who = self.access.who(request, product, channel)
        origin = Origin(
            product, version, query.get("created", ""), query.get("board", ""), query.get("commit", ""),
            _flag(query, "dirty"),
        )  # fmt: skip
        consent = Consent(_flag(query, "raise_counter"), _flag(query, "strand_devices"))
        terms, downgrade = Terms.parse(query), _flag(query, "downgrade")
        rehearsal = _rehearsal(query.get("rehearsal"))
        wanted = Wanted(origin, channel, terms, downgrade, consent, rehearsal)
        async with self._uploads.of(who):
            parts = await uploads.read_files(request)
            async with self._publishing:
                self._require(product)
                done = await asyncio.to_thread(lambda: publish(self._fleet, parts, wanted, who))
        percent = 100 if terms.percent is None else terms.percent
        said = {"percent": percent, "downgrade": downgrade, "rehearsal": rehearsal or None}
        self._log("publish", product, channel, who, version=version, before=done.before, **said)
        effect = {**await self._effect(product, channel, done.before), "warnings": done.effect.warnings()}
        return {"release": _as_json(done.release), **effect}

    async def firmware(self, request: Request) -> Response:
        """Return the bytes of a release, for who publishes to compare."""
        from starlette.responses import Response

        product = self._named(request)
        self.access.who(request, product, None)
        release = self.catalog.release(product, releases.check_version(request.path_params["version"]))
        form = release.form("raw") or release.forms[0]
        return Response(
            self.catalog.body(form.blob), headers={"x-MD5": form.md5}, media_type="application/octet-stream"
        )

    async def promote(self, request: Request) -> dict[str, Any]:
        """Point a channel at what another one points at, or at a version: `{"from": ...}` or `{"version": ...}`."""
        product, channel, who = self._target(request)
        asked = await uploads.read_json(request, ("from", "version", *NAMES, *CONSENT))
        if ("from" in asked) is ("version" in asked):
            raise ConfigError("neither or both of 'from' and 'version'", "give the channel or the version to promote")
        if "from" in asked:
            version = self._proven(product, check_name(str(asked["from"]), "channel"))
        else:
            version = releases.check_version(str(asked["version"]))
        terms, consent, new = Terms.parse(asked), _consent(asked), self.catalog.release(product, version)

        def change(before: Channel | None) -> Pointer:
            pointer = terms.pointer(version, before)
            self.seen.check_rollout(product, channel, pointer)
            self._fleet.allow(new, channel, before, consent, who)
            return pointer

        return await self._move(product, channel, who, change, "promote")

    async def percent(self, request: Request) -> dict[str, Any]:
        """Set to how many per cent of the devices a channel's release goes; a halted rollout goes on."""
        product, channel, who = self._target(request)
        asked = await uploads.read_json(request, NAMES)
        terms = Terms.parse({"percent": None, **asked})

        def change(before: Channel | None) -> Pointer:
            if before is None:
                raise _no_channel(product, channel)
            pointer = terms.pointer(before.pointer.version, before)
            self.seen.check_rollout(product, channel, pointer)
            return pointer

        return await self._move(product, channel, who, change, "percent")

    async def rollback(self, request: Request) -> dict[str, Any]:
        """Point a channel back at the last version that all its devices had."""
        product, channel, who = self._target(request)
        consent = _consent(await uploads.read_json(request, CONSENT))

        def back(before: Channel) -> Channel:
            if before.previous is not None:
                new = self.catalog.release(product, before.previous)
                self._fleet.allow(new, channel, before, consent, who)
            return self.catalog.store.rollback(product, channel, expected=before.generation, by=who)

        async with self._publishing:
            before = self._state(product, channel)
            after = await asyncio.to_thread(back, before)
        self._log("rollback", product, channel, who, version=after.pointer.version, before=before.pointer.version)
        return await self._effect(product, channel, before.pointer.version)

    async def list_devices(self, request: Request) -> dict[str, Any]:
        """List the devices seen, a page at a time: what each runs, when it asked last, whether it is stuck."""
        product, query = self._named(request), request.query_params
        self.access.who(request, product, None)
        self._require(product)
        selection, limit = self._selection(product, query), _limit(query.get("limit"))
        return await asyncio.to_thread(self._page, product, selection, query.get("after", ""), limit)

    async def forget_device(self, request: Request) -> dict[str, Any]:
        """Forget a device: `{"device": ...}`. When it asks again, it is a new one."""
        return await self._change_device(request, "forget", self.seen.recorder.forget)

    async def retry_device(self, request: Request) -> dict[str, Any]:
        """Let a device that is stuck or in a loop have its release again: `{"device": ...}`."""
        return await self._change_device(request, "retry", self.seen.recorder.retry)

    async def certs(self, request: Request) -> dict[str, Any]:
        """Return which certificate archive a channel gives out."""
        product, channel, _ = self._target(request)
        self._require(product)
        return {"certs": asdict(self.archives.current(product, channel))}

    async def publish_certs(self, request: Request) -> dict[str, Any]:
        """Take a signed certificate archive, check it, and give it out in a channel."""
        product, channel, who = self._target(request)
        rehearsal = _rehearsal(request.query_params.get("rehearsal"))
        noted = {"by": who, **({"rehearsal": rehearsal} if rehearsal else {})}
        self._require(product)
        async with self._uploads.of(who):
            data = b"".join(await uploads.read_files(request))
            async with self._publishing:
                record = await asyncio.to_thread(lambda: self.archives.publish(product, channel, data, **noted))
        said = {"archive": record.archive, "certificates": record.certificates, "rehearsal": rehearsal or None}
        self._log("certs", product, channel, who, **said)
        return {"certs": asdict(record), **asdict(self.facts)}

    def _releases(self, product: str) -> dict[str, Any]:
        return {
            "product": product,
            "releases": [_as_json(release) for release in self.catalog.releases(product)],
            "channels": self._channels(product),
            "damaged": self.catalog.damage_of(product),
        }

    def _selection(self, product: str, query: Mapping[str, str]) -> Selection:
        channel, state, version = query.get("channel"), query.get("state"), query.get("version")
        if channel is not None:
            self._state(product, check_name(channel, "channel"))
        if state is not None and state not in STATES:
            raise ConfigError(f"state '{state[:32]}' is unknown", f"say one of {', '.join(STATES)}")
        if version is None:
            return Selection(channel, state)
        known = self.catalog.known(product)
        md5s = {md5 for md5, running in known.items() if running.release.version == version}
        return Selection(channel, state, releases.check_version(version), frozenset(md5s), frozenset(known))

    def _page(self, product: str, selection: Selection, after: str, limit: int) -> dict[str, Any]:
        known, rows = self.catalog.known(product), []
        found = self.seen.list(product, selection, after, limit + 1)
        for device in found[:limit]:
            running = known.get(device.md5)
            version = running.release.version if running else device.version or None
            rows.append({**device._asdict(), "state": device.state, "running": version})
        return {"product": product, "devices": rows, "next": rows[-1]["device"] if len(found) > limit else None}

    async def _change_device(self, request: Request, event: str, change: Callable[[str, str], None]) -> dict[str, Any]:
        """Note a change of a device, which every worker hears of; who asks needs the right to the device's channel."""
        product = self._named(request)
        self.access.who(request, product, None)
        asked = await uploads.read_json(request, ("device",))
        device = asked.get("device")
        if not isinstance(device, str) or not 0 < len(device) <= openapi.MAX_DEVICE:
            raise ConfigError("no device is named", "name it in the field 'device', as otaseal devices lists it")
        self._require(product)
        known = await asyncio.to_thread(self.seen.get, product, device)
        who = self.access.who(request, product, known.channel)
        where = {"product": product, "channel": known.channel, "device": device}
        await asyncio.to_thread(self.catalog.store.record_event, {"event": event, **where, "by": who})
        change(product, device)
        await asyncio.to_thread(self.seen.settle)
        self._log(event, product, known.channel, who, device=device)
        return where

    async def _move(
        self, product: str, channel: str, who: str, change: Callable[[Channel | None], Pointer], event: str
    ) -> dict[str, Any]:
        self._require(product)
        async with self._publishing:
            before = self.catalog.channel(product, channel)
            expected = 0 if before is None else before.generation
            pointer = await asyncio.to_thread(change, before)
            await asyncio.to_thread(
                lambda: self.catalog.store.point(product, channel, pointer, expected=expected, by=who)
            )
        earlier = None if before is None else before.pointer.version
        self._log(event, product, channel, who, version=pointer.version, before=earlier, percent=pointer.percent)
        return await self._effect(product, channel, earlier)

    async def _effect(self, product: str, channel: str, before: str | None) -> dict[str, Any]:
        """Return what a change means for whom: the channel's state, and the devices seen there by running version."""
        devices = await asyncio.to_thread(self._fleet.versions, product, channel)
        return {"before": before, "channel": self._channels(product)[channel], "devices": devices, **asdict(self.facts)}

    def _channels(self, product: str) -> dict[str, Any]:
        return {
            name: {
                "version": one.pointer.version,
                "percent": one.pointer.percent,
                "halted": one.pointer.halted,
                "max_failed": one.pointer.max_failed,
                "patience": one.pointer.patience,
                "previous": one.previous,
                "generation": one.generation,
            }
            for name, one in self.catalog.channels(product).items()
        }

    def _state(self, product: str, channel: str) -> Channel:
        state = self.catalog.channel(product, channel)
        if state is None:
            raise _no_channel(product, channel)
        return state

    def _proven(self, product: str, channel: str) -> str:
        """Return the version of a channel that is to be given to another one: not one that was halted here."""
        pointer = self._state(product, channel).pointer
        if pointer.halted:
            raise ConflictError(
                f"the rollout of '{pointer.version}' in channel '{channel}' was halted",
                "promote it by --version if that is what you mean",
            )
        return pointer.version

    def _require(self, product: str) -> None:
        if product not in self.catalog.store.products():
            raise NotFoundError(
                f"the server has no product '{product}'",
                f"give the server its public key first: otaseal serve --product {product}=signing.pub",
            )

    def _named(self, request: Request) -> str:
        return check_name(request.path_params["product"], "product")

    def _target(self, request: Request) -> tuple[str, str, str]:
        product, channel = self._named(request), check_name(request.path_params["channel"], "channel")
        return product, channel, self.access.who(request, product, channel)

    def _log(self, event: str, product: str, channel: str, who: str, **values: object) -> None:
        self.telemetry.event(event, product=product, channel=channel, by=who, **values)


def _no_channel(product: str, channel: str) -> NotFoundError:
    return NotFoundError(f"'{product}' has no channel '{channel}'", "otaseal releases lists them")


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "0")
    if text not in ("0", "1"):
        raise ConfigError(f"{name} is '{text[:32]}'", "use 0 or 1")
    return text == "1"


def _limit(text: str | None) -> int:
    most = openapi.MAX_DEVICES
    if text is None:
        return most
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise ConfigError(f"limit '{text[:32]}' is no number of devices", f"use a whole number from 1 to {most}")
    return int(text)


def _rehearsal(value: str | None) -> str:
    if value is None:
        return ""
    if value not in REHEARSALS:
        raise ConfigError(f"rehearsal '{value[:32]}' is unknown", f"say one of {', '.join(REHEARSALS)}")
    return value


def _consent(asked: Mapping[str, Any]) -> Consent:
    for name in CONSENT:
        if type(asked.get(name, False)) is not bool:
            raise ConfigError(f"{name} is '{str(asked[name])[:32]}'", "use true or false")
    return Consent(**{name: asked[name] for name in CONSENT if name in asked})


def _as_json(release: Release) -> Any:
    return json.loads(releases.serialise(release))
