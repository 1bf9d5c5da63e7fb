"""What producer and consumer must agree on: messages, topology, engines, settings, logs."""
