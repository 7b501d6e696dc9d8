"""`python -m tps_lab.cli`."""

from tps_lab.cli import main

main()
