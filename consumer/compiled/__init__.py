"""The inner loops of reading large results, as machine code: made once on a machine, and loaded in a tenth of a second.

`lines` and `samples` hold the loops in the part of Python that numba compiles, `build` makes an object file of them in
a process of its own, and `load` keeps that file in the user's cache folder and links it into this process. All of them
have a plain twin elsewhere that gives the same numbers to the last bit.
"""
