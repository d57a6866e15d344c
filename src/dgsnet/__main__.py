"""`python -m dgsnet`."""

from dgsnet.cli import main

main()
