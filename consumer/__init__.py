"""The consumer programs: results worker, recorder, email sender; and the steps of a delivery.

They reach the ledger through `ledger.api`, which can be imported once `ledger.prepare` has started Django; so the
command-line module imports the programs only then.
"""
