"""What the benchmarks share. Standard library only: peers' interpreters import it as well."""
