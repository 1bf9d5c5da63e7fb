"""A stand-in for Seafile: the web API (seahub) and the file server (seafhttp), as their sources are known to behave.

Where the behaviour is not known, the harsher one is chosen: a library's own token may do nothing on the account's paths
and cannot ask how much of an upload is held; deleted and replaced content counts against the quota; the share links of
a deleted file stay on record; without an end, a link is refused where the administrator bounds links; a list of
libraries names some twice.
"""
