"""The second edition of `dgsnet-b16`: read, choose, fit, test.

    python -m studies.second_edition read --corpus CORPUS --repositories DIR    runs/second_edition/tokens: hours, may be stopped anywhere
    python -m studies.second_edition choose --corpus CORPUS                     results/choices.{json,md}: asked about what was left out
    python -m studies.second_edition fit --corpus CORPUS                        runs/dgsnet_b16/second/dgs: the model
    python -m studies.second_edition test --corpus CORPUS                       results/test.{json,md}, results/curve.{json,md,png}

DIR holds the listed repositories OWNER/NAME (`python -m tools.clone_sources DIR`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from studies.common.copies import images
from studies.common.tokens import read_tokens
from studies.second_edition import tables
from studies.second_edition.fit import fit


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("read", "choose", "fit", "test"):
        command = commands.add_parser(name)
        command.add_argument("--corpus", type=Path, required=True)
        if name == "read":
            command.add_argument("--repositories", type=Path, required=True)
    arguments = parser.parse_args()
    given = images(arguments.corpus)
    if arguments.command == "read":
        read_tokens(given, arguments.corpus, arguments.repositories)
    elif arguments.command == "choose":
        tables.choose(given)
    elif arguments.command == "fit":
        fit(given)
    else:
        tables.test(given)


if __name__ == "__main__":
    main()
