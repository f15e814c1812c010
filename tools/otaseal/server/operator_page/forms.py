"""Forms that ask before something is changed: the same one is shown, sent, and shown again with what was refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...errors import ConfigError, InputError
from ..operator_api.app import status_of
from ..operator_api.uploads import Refused
from .page import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response


@dataclass(frozen=True)
class Field:
    """One field, of the `kind` number, text, area, select, check, file or hidden; a `note` stands beneath it."""

    name: str
    label: str = ""
    kind: str = "text"
    value: str = ""
    note: str = ""
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None

    @classmethod
    def hidden(cls, name: str, value: str) -> Field:
        """Return a field that nobody sees."""
        return cls(name, kind="hidden", value=value)


@dataclass(frozen=True)
class Form:
    """A question, the `facts` that help to answer it, its fields, and the words on its button."""

    title: str
    question: str
    facts: tuple[str, ...]
    action: str
    fields: tuple[Field, ...] = ()
    danger: bool = False
    """Whether it cannot be undone."""
    is_query: bool = False
    """Whether sending it changes nothing, and leads to the next form."""
    to: str = ""
    """The address that it is sent to, "" for its own."""
    is_long: bool = False
    """Whether it carries more than a form without files can."""


@dataclass(frozen=True)
class Asked:
    """A form as somebody is asked it: what it changes, and where to look `then`, or `back` without a change.

    A change that returns another one, which is asked next, has changed nothing yet.
    """

    form: Form
    back: str
    change: Callable[[], Awaitable[object]]
    then: str = ""


Build = Callable[[Page, Visit], Awaitable[Asked]]
"""Returns the form of an address, whether it is looked at or sent."""


async def show(build: Build, page: Page, visit: Visit) -> Response:
    """Return the form."""
    return _screen(page, visit, await build(page, visit))


async def send(build: Build, page: Page, visit: Visit) -> Response | str:
    """Make the change, and return where to look then; or the form again with why it was refused."""
    asked = await build(page, visit)
    try:
        done = await asked.change()
    except Refused:
        raise
    except (InputError, ConfigError) as error:
        return _screen(page, visit, asked, error)
    if isinstance(done, Asked):
        return _screen(page, replace(visit, form={}), done)
    return asked.then or asked.back


def _screen(page: Page, visit: Visit, asked: Asked, error: InputError | ConfigError | None = None) -> Response:
    """Return the form, with what was refused; fields that somebody sees have what was sent before."""
    form, status = asked.form, 200 if error is None else status_of(error)
    filled = [
        one
        if one.kind == "hidden"
        else replace(one, value=visit.form.get(one.name, one.value if not visit.form else ""))
        for one in form.fields
    ]
    values = {"form": form, "fields": filled, "back": asked.back, "error": error}
    return page.show(visit, "form.html", status, title=form.title, **values)
