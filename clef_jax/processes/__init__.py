"""The processes of one run: they find each other, check that they agree, and end together.

JAX ends a process without a word when its peers do not come, and leaves it in an exchange that
never finishes when one of them stops. Here each says what is wrong, within a minute.
"""

from clef_jax.processes.agreement import agree
from clef_jax.processes.joining import joined

__all__ = ["agree", "joined"]
