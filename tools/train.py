"""`hydrart train` from a checkout: python tools/train.py --data DIR -o OUT.safetensors"""

import sys

from hydrart.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]], prog_name="hydrart")
