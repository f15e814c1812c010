"""Forms that ask before something is changed: the same one is shown, sent, and shown again with what was refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
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
    """A question, the `facts` that help to answer it, and the words on its button; `danger`: it cannot be undone."""

    title: str
    question: str
    facts: tuple[str, ...]
    action: str
    danger: bool = False
    is_query: bool = False
    """Whether sending it changes nothing, and leads to the next form."""

    def ask(
        self,
        page: Page,
        visit: Visit,
        *,
        back: str,
        fields: Sequence[Field],
        error: InputError | ConfigError | None = None,
    ) -> Response:
        """Return the form, with what was refused; fields have what was sent before."""
        filled = [replace(one, value=visit.form.get(one.name, one.value if not visit.form else "")) for one in fields]
        status = 200 if error is None else status_of(error)
        values = {"form": self, "fields": filled, "back": back, "error": error}
        return page.show(visit, "form.html", status, title=self.title, **values)

    async def run(
        self,
        page: Page,
        visit: Visit,
        change: Callable[[], Awaitable[object]],
        *,
        back: str,
        then: str,
        fields: Sequence[Field],
    ) -> Response | str:
        """Make the change, and return where to look `then`; or the form again with why it was refused."""
        try:
            await change()
        except Refused:
            raise
        except (InputError, ConfigError) as error:
            return self.ask(page, visit, back=back, fields=fields, error=error)
        return then
