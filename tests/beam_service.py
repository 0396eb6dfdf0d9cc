"""Beam's Python job service, whose jobs have so many workers: by itself it always takes one.

python -m tests.beam_service PORT WORKERS
"""

from __future__ import annotations

import sys

from apache_beam.runners.portability import local_job_service_main
from apache_beam.runners.portability.fn_api_runner import fn_runner


def main(port: str, workers: int) -> None:
    made = fn_runner.FnApiRunner.__init__

    def with_workers(self: fn_runner.FnApiRunner, *args: object, **kwargs: object) -> None:
        made(self, *args, **kwargs)
        self._num_workers = workers

    fn_runner.FnApiRunner.__init__ = with_workers
    local_job_service_main.run(["--port", port])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
