"""Needs a package that nobody has: NOT RUN."""

import absent_package
from toy_shared import study

STUDY = study("needs-package", absent_package.method)
