"""`hydrart train`, for who has a checkout."""

from hydrart.train.run import main

if __name__ == "__main__":
    main()
