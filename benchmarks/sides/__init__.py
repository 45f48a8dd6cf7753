"""What is measured: the same verbs for each library, and one program that measures them all alike."""
