"""A small storage server: uploads with a key, links that cannot be guessed, files that say what they hold.

It imports nothing else of SimCourier and needs no database.
"""
