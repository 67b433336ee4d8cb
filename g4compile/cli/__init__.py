"""The command line. `verbs/` read the arguments and call the library, `render/` shows what it gives.

Heavy imports wait for the call, so that help texts come at once.
"""
