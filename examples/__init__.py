"""Applications that use Umbel, each in a folder of its own."""
