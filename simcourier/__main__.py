"""``python -m simcourier``."""

from simcourier.cli import main

main()
