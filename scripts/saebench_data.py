"""Rule saebench_data."""

from pathlib import Path

from maskedsae.grid import gathered
from maskedsae.job import job
from maskedsae.leases import Lease
from maskedsae.saebench.datasets import Folder
from maskedsae.saebench.rows import Needs

manifest = Path(snakemake.output[0])

with job(snakemake.log[0]), Lease(manifest.parent) as lease:
    settings, sets = gathered(snakemake.params), Folder(manifest.parent)
    if settings["data"]["source"] == "hub":
        from maskedsae.saebench.fetching import fetch  # each imports what the other does without

        fetch(sets, Needs(settings), settings["data"]["revisions"])
    else:
        from maskedsae.world.evaluations import write_stand_ins

        corpus = Path(snakemake.input[0]) if snakemake.input else None
        write_stand_ins(sets, Needs(settings), corpus, settings["seed"])
    lease.check()
    sets.write_manifest(manifest, settings)
