"""A recipe file to start from: ours (a whole tree) or Amazon's (values that are laid over its model's preset)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpt.errors import Fault, RecipeError
from cpt.recipe.amazon import from_amazon, is_amazon
from cpt.recipe.gate import MAX_BYTES, check_tree, read_yaml


@dataclass(frozen=True)
class RecipeFile:
    """What a file gives.

    Args:
        tree: Ours: the whole tree. Amazon's: what it gives, in our keys.
        options: The option of each group that the values of `tree` were, or are to be, laid over, as far as it tells.
        whole: Whether `tree` is a whole recipe.
    """

    tree: dict[str, Any]
    options: dict[str, str]
    whole: bool

    @classmethod
    def read(cls, file: Path) -> RecipeFile:
        """The recipe in `file`.

        Raises:
            RecipeError: It cannot be read, does not pass the gate, or holds a key of Amazon's that is unknown here.
        """
        tree = read_yaml(read_text(file), str(file))
        check_tree(tree, str(file))
        if not is_amazon(tree):
            model = tree.get("model")
            return cls(tree, {"model": str(model.get("name"))} if isinstance(model, dict) else {}, whole=True)
        given = from_amazon(tree, str(file))
        options = {"model": given["model"]["name"], "cluster": given["cluster"]["name"], "data": given["data"]["source"]}
        return cls(given, options, whole=False)


def read_text(file: Path) -> str:
    """The text of a recipe file; at most a little more than the gate takes is read.

    Raises:
        RecipeError: It cannot be read or is not UTF-8.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 4).decode()
    except UnicodeDecodeError:
        raise RecipeError(Fault(str(file), "", "a recipe is UTF-8 text", "Save the file as UTF-8")) from None
    except OSError as error:
        raise RecipeError(Fault(str(file), "", error.strerror or "cannot be read", "Name a recipe file that exists")) from None
