"""`python -m autotts` is the command `autotts`."""

from autotts.cli import main

if __name__ == "__main__":
    main()
