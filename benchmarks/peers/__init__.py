"""The other libraries, each set up as its own documents say."""
