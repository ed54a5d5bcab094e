"""A build that is done but for its outputs.

It can be exported, more than once, and it can be a named context of other builds: they take its
steps over as they are, solved, so that nothing of it is done again. Until it is closed its results
are kept from being pruned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from firkin import errdefs
from firkin.builder import plan, request, solver, stages
from firkin.dockerfile import lint
from firkin.types import image as types


class Prepared:
    """See the module's description; ``begun`` is in seconds since the epoch."""

    def __init__(
        self, wanted: request.Request, plans: Sequence[plan.Plan], built: Sequence[stages.Built],
        solved: solver.Solver, warnings: list[lint.Warning], begun: float,
        stack: contextlib.AsyncExitStack,
    ) -> None:  # fmt: skip
        self.wanted = wanted
        self.plans = list(plans)
        self.built = list(built)
        self.solved = solved
        self.warnings = warnings
        self.begun = begun
        self._stack = stack

    def result(self, platform: types.Platform) -> stages.Built:
        """See ``request.Finished``."""
        for planned, one in zip(self.plans, self.built, strict=True):
            if planned.platform == platform:
                return one
        if len(self.built) == 1:
            return self.built[0]
        raise errdefs.InvalidParameter(
            f"the build that is the base has no result for {stages.shown(platform)}: it is for "
            + ", ".join(stages.shown(one.platform) for one in self.plans)
        )

    async def close(self) -> None:
        """Let go of contexts and results."""
        await self._stack.aclose()
