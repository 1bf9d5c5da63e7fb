"""The example simulator: an M/M/1 queue that writes OMNeT++ result files. Run it as ``python -m producer.mm1``."""
