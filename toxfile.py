"""What tox does beyond ``tox.ini``: its last lines say what failed.

The output of a failed command is hundreds of lines above the end of a run with ten environments,
and tox itself only names the environment. So the end of that output is shown again, below the
summary.
"""

from __future__ import annotations

import atexit

from tox.execute import Outcome
from tox.plugin import impl
from tox.tox_env.api import ToxEnv

SHOWN = 20
"""Lines of each failed command: where pytest, mypy and ruff name what they have found."""

failures: list[str] = []


@impl
def tox_after_run_commands(tox_env: ToxEnv, exit_code: int, outcomes: list[Outcome]) -> None:
    """Remember how the environment's commands failed, if they did."""
    del exit_code
    for outcome in outcomes:
        if not outcome:
            title = f"\n{tox_env.name}: {outcome.request.shell_cmd} failed:"
            end = (outcome.out + outcome.err).splitlines()[-SHOWN:]
            failures.append("\n".join([title, *end]))


@atexit.register
def show_failures() -> None:
    """Show them; tox offers no hook that runs after its summary."""
    for failure in failures:
        print(failure)
