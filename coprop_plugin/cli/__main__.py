"""`python -m coprop_plugin.cli`, e.g. for torchrun, or where `coprop` is not on the path."""

from coprop_plugin.cli import main

main()
