"""`python -m tracecraft` is the command `tracecraft`."""

from tracecraft.cli.app import main

main()
