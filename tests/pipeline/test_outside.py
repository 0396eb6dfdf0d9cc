"""What a run depends on from outside."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Config
from pipeline.outside import resolve_request
from tests.presets import write_preset, write_table


def test_what_decides_the_views_is_a_part_of_the_request(tmp_path: Path) -> None:
    """Or a run with other views would be taken for the one that made the last model."""
    table = write_table(tmp_path / "t.jsonl", 10)
    preset = write_preset("BERT", tmp_path / "bert")

    def digest(rate: float) -> str:
        config = Config.model_validate(
            {
                "data": {"path": str(table), "modality": "text"},
                "model": {"backbone": str(preset)},
                "sentences": {"rate": rate},
            }
        )
        return resolve_request(config, download=False).digest

    assert digest(0.1) == digest(0.1) != digest(0.4)
