"""All checks, the slowest first."""

from jaxgen.doctor import known, models

CHECKS = (*models.CHECKS, *known.CHECKS)
