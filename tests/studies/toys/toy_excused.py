"""The method takes more steps, and says why: judged, and the reason is printed."""

from toy_shared import study
from toy_unequal import method

STUDY = study("excused", method, unequal={"steps": "seed 102 needs one more"})
