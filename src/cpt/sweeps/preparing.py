"""From members to what a launcher is handed: data that several share is looked at once, a warning that several have is said once."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping

from cpt.console import say
from cpt.handover import Delivery
from cpt.recipe.schema import Recipe
from cpt.submission import Submission, make_submission
from cpt.sweeps.members import Member


class Preparer:
    """Prepares the members of one sweep."""

    def __init__(self) -> None:
        self._fingerprints: dict[str, Mapping[str, str]] = {}
        self._said: set[str] = set()

    def delivery(self, member: Member) -> Delivery:
        """What a launcher is to be handed for `member`.

        Raises:
            UserError: See `cpt.submission.make_submission`.
        """
        assert member.composed is not None
        return Delivery(member.run, self._submission(member.composed.recipe), member.composed.yaml)

    def _submission(self, recipe: Recipe) -> Submission:
        data = json.dumps(recipe.data.model_dump(mode="json", exclude={"store"}), sort_keys=True)
        known = self._fingerprints.get(data)
        with self._saying_once() if known else contextlib.nullcontext():  # the first look may take long, and shows how far it is
            submission = make_submission(recipe, known)
        self._fingerprints[data] = submission.prepared.fingerprints
        return submission

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
