"""What the flags of ``run`` and ``create`` mean, as the JSON that the Engine API takes.

Each module turns the text of some flags into values and does nothing else; text that will not do
raises ``ValueError`` with the reason. ``runflags`` lists the flags, ``body`` puts it all together.
The tests hold the result against what Docker's own client sends for the same words.
"""
