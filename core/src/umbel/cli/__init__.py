"""The command line: `umbel` and its commands, each loaded when it is called."""
