"""``python -m umbel``."""

from umbel.cli.main import main

if __name__ == "__main__":
    main()
