"""`python -m coprop_plugin.cli`, where the program `coprop` is not on the path; torchrun's way."""

from coprop_plugin.cli import main

main()
