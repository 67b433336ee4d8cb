"""The command line: one small file a verb, each a typed call into the library. Heavy imports wait for the call."""
