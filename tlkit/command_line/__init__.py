"""Parts of the command line that are not verbs of `cli.py`."""
