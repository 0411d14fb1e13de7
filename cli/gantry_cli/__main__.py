"""Entry point of the ``gantry`` command."""
