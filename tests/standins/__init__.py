"""Stand-ins for storage services that cannot be had for tests: programs that behave as the services are known to."""
