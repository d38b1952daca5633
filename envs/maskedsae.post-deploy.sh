#!/usr/bin/env bash
# Snakemake runs this in the new conda environment, in the folder of maskedsae.yaml's copy; the pins are repeated since
# that copy has no neighbours (tests/unit/test_environment.py compares them with requirements-nodeps.txt).
set -euo pipefail
pip install --no-deps \
    dictionary-learning==0.1.0 \
    nnsight==0.3.7 \
    sae-bench==0.6.0 \
    sae-probes==0.4.2 \
    xgboost==3.0.5
