"""What of a config is not as by default."""

from __future__ import annotations

import tomllib

from pipeline.recipe import nested, validate
from pipeline.showing import as_recipe, departures


def test_what_departs_comes_to_the_same_config() -> None:
    """A target in which nothing departs is a target all the same."""
    content = {
        "targets": {"kind": {}, "size": {"task": "number", "weight": 2.0}},
        "augment": {"policies": ["flip", "rotate"]},
        "fine_tune": {"unfreeze": "25%"},
    }
    config = validate(content)
    assert validate(nested(departures(config))) == config
    assert validate(tomllib.loads(as_recipe(departures(config), ["why"]))) == config
