"""The base of every typed recipe object."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, strict (no silent conversion), closed to unknown keys; field docstrings are the field's description.

    Validate it from JSON (`model_validate_json`): there a list is a tuple, and `"1e-4"` or `true` is not a number.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)
