"""From members to what a launcher is handed: what several share is found once, a warning that several have is said once."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pydantic import BaseModel

from cpt.base import Base, resolve_base
from cpt.console import say
from cpt.data.prepare import Prepared
from cpt.handover import Delivery
from cpt.recipe.schema import Recipe
from cpt.submission import Submission, check_recipe, prepare_data, submission_of
from cpt.sweeps.members import Member


class Preparer:
    """Prepares the members of one sweep, whose bases and data stay what they were when it first looked."""

    def __init__(self) -> None:
        self._bases: dict[str, Base] = {}
        self._prepared: dict[str, Prepared] = {}
        self._fingerprints: dict[str, Mapping[str, str]] = {}
        self._checked: set[str] = set()
        self._said: set[str] = set()

    def delivery(self, member: Member) -> Delivery:
        """What a launcher is to be handed for `member`.

        Raises:
            UserError: See `cpt.submission.make_submission`.
        """
        assert member.composed is not None
        return Delivery(member.run, self._submission(member.composed.recipe), member.composed.yaml)

    def _submission(self, recipe: Recipe) -> Submission:
        self._check(recipe)
        base = self._base(recipe)
        prepared = self._data(recipe, base)
        with self._saying_once():
            return submission_of(recipe, base, prepared)

    def _check(self, recipe: Recipe) -> None:
        key = _text(recipe.cluster, recipe.run.output, recipe.logger, recipe.eval)
        if key not in self._checked:
            check_recipe(recipe)
            self._checked.add(key)

    def _base(self, recipe: Recipe) -> Base:
        key = _text(recipe.model.name, recipe.model.init, recipe.model.architecture)
        if key not in self._bases:
            self._bases[key] = resolve_base(recipe)
        return self._bases[key]

    def _data(self, recipe: Recipe, base: Base) -> Prepared:
        """Its data: validated once, tokenised once for each tokenizer, packed once for each length."""
        data = _text(recipe.data.model_copy(update={"store": None}))
        key = _text(recipe.data, recipe.tokenizer, base.folder, base.architecture, recipe.train.max_length)
        if known := self._prepared.get(key):
            return replace(known, plan=known.plan.reordered(recipe.train.global_batch_size, recipe.run.seed))
        validated = self._fingerprints.get(data)
        with self._saying_once() if validated else contextlib.nullcontext():  # the first look may take long, and shows how far it is
            prepared = self._prepared[key] = prepare_data(recipe, base, validated)
        self._fingerprints[data] = prepared.fingerprints
        return prepared

    @contextlib.contextmanager
    def _saying_once(self) -> Iterator[None]:
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                yield
        finally:
            for line in said.getvalue().splitlines():
                if line not in self._said:
                    self._said.add(line)
                    say(line)


def _text(*parts: object) -> str:
    """The same for the same parts."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else str(part) for part in parts]
    return json.dumps(plain, sort_keys=True)
