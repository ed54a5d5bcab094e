"""Commands on containers, one module per verb."""
