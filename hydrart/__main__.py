"""`python -m hydrart`: the command, where the scripts' folder is not on the path."""

from hydrart.cli.main import main

main(prog_name="hydrart")
