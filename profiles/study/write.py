"""docs/study/ from finished runs: python profiles/study/write.py TEMPLATE TO RUN..., each a folder results/{run}."""

import sys

from maskedsae.jobs.errors import InputError
from maskedsae.report.study import write_study

if __name__ == "__main__":
    template, to, *runs = sys.argv[1:]
    try:
        write_study(template, runs, to)
    except InputError as error:
        sys.exit(f"error: {error}")
