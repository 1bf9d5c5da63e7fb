"""Storage services: the plugin contract, its errors, its test suite, and one file per service."""
