"""The command line of the ledger: one module per group of commands."""
