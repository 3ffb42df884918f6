"""`hydrart convert` from a checkout: python tools/convert.py CHECKPOINT -o OUT.safetensors"""

import sys

from hydrart.cli.main import main

if __name__ == "__main__":
    main(["convert", *sys.argv[1:]], prog_name="hydrart")
