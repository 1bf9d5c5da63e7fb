"""``python -m producer.mm1``."""

from producer.mm1.queue import main

main(prog_name="python -m producer.mm1")
