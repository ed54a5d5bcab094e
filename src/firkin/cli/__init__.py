"""The command line client.

``main`` finds the command in ``registry``, imports that one module and runs it: start-up time is a
feature, so nothing is imported that the command at hand does not need, and nothing at all that
only Linux has. A command is one file below ``commands`` with a ``COMMAND`` (its flags and usage,
see ``flags``) and ``run(cli, values, args) -> exit status``; ``cli`` is a ``context.Cli``.
"""
