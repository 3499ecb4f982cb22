"""`python -m jaxgen` is the command `jaxgen`."""

from jaxgen.console import main

if __name__ == "__main__":
    main()
