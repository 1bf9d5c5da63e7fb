"""A stand-in for Seafile: the web API (seahub) and the file server (seafhttp), as its sources describe them.

Where the behaviour is not known, the harsher one is chosen: a repo API token may not make share links on the account's
path, quota does not come back when a file is replaced, and an upload link of another kind is refused after the body.
"""
