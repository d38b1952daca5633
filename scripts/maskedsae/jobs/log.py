"""The one logger of the library. The job's entry decides where its lines go."""

import logging

log = logging.getLogger("maskedsae")
