"""`hydrart convert`, for who has a checkout."""

from hydrart.convert.convert import main

if __name__ == "__main__":
    main()
