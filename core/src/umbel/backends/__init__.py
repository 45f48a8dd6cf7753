"""Result stores that need nothing but Python."""
