"""What holds for a plugin of any kind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar

import pytest
from pydantic import BaseModel, ValidationError

from cpt.plugins import validate_options

HEAVY = ("torch", "lightning", "transformers")
IMPORT = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[2])
importlib.import_module(sys.argv[1])
print(json.dumps([name for name in sys.argv[3:] if name in sys.modules]))
"""


Test = TypeVar("Test", bound=Callable[..., object])


def where(claim: Callable[[Any], bool]) -> Callable[[Test], Test]:
    """A test of the classes for which `claim` holds alone: in others it is not there, rather than skipped time and again."""

    def mark(test: Test) -> Test:
        test.claim = claim  # type: ignore[attr-defined]
        return test

    return mark


class PluginContract:
    """Base of the suites: the class under test, and options for it."""

    contract: ClassVar[type]
    """The class of `cpt.contracts` that it must be of."""
    plugin: ClassVar[type[Any]]
    """The class under test."""
    options: ClassVar[Mapping[str, object]] = {}
    """Settings for it, as a recipe gives them: at least those without a default."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if not hasattr(cls, "plugin"):
            return
        for name in filter(lambda name: name.startswith("test_"), dir(cls)):
            test = next(vars(base)[name] for base in cls.__mro__ if callable(vars(base).get(name)))
            if hasattr(test, "claim"):
                setattr(cls, name, test if test.claim(cls) else None)

    def make_options(self, **more: object) -> BaseModel:
        """`options` and `more`, validated as a recipe's are."""
        return validate_options(self.plugin.Options, {**self.options, **more}, "options")

    def test_it_is_of_its_contracts_class(self) -> None:
        assert issubclass(self.plugin, self.contract)

    def test_importing_its_module_imports_no_torch(self) -> None:
        """A login node lists, checks and submits without it."""
        assert _heavy_imports(self.plugin.__module__) == []

    def test_its_options_are_frozen(self) -> None:
        options = self.make_options()
        for name in type(options).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(options, name, getattr(options, name))
        assert options.model_config.get("frozen")

    def test_an_unknown_option_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="extra_forbidden"):
            self.plugin.Options.model_validate({**self.options, "no_option_has_this_name": 1})

    def test_no_option_is_converted_silently(self) -> None:
        assert self.plugin.Options.model_config.get("strict"), "derive Options from cpt.recipe.frozen.Frozen, or set strict=True"

    def test_its_options_survive_being_saved(self) -> None:
        """A run's manifest keeps them as JSON, defaults included, and they are read back from there."""
        options = self.make_options()
        saved = options.model_dump_json(warnings=False)
        assert self.plugin.Options.model_validate_json(saved) == options


@cache
def _heavy_imports(module: str) -> list[str]:
    """What of `HEAVY` a new process holds once it has imported `module`."""
    argv = [sys.executable, "-c", IMPORT, module, json.dumps(sys.path), *HEAVY]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603  (an argv of this suite)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))
