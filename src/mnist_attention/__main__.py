"""``python -m mnist_attention``: the command line."""

from .cli import main

main()
