"""What commands of the command line have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import cyclopts

from pipeline.checks import check
from pipeline.config import Config

STORE = Path(".store")
Flags = Annotated[Config, cyclopts.Parameter(name="*")]


def with_path(config: Config, path: str) -> Config:
    """The config with the examples at `path`, where that was given beside the recipe; checked."""
    if path:
        data = config.data.model_copy(update={"path": os.path.expanduser(path)})
        config = config.model_copy(update={"data": data})
    check(config)
    return config
