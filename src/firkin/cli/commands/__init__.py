"""The commands: a package per noun, a module per verb, each imported only when asked for."""
