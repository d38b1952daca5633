#!/usr/bin/env bash
# Snakemake runs a copy of this in the new conda environment, away from its neighbours; so the pins are repeated
# (tests/unit/test_environment.py compares them with requirements-nodeps.txt).
set -euo pipefail
pip install --no-deps \
    dictionary-learning==0.1.0 \
    nnsight==0.3.7 \
    sae-bench==0.6.0 \
    sae-probes==0.4.2 \
    snakemake-executor-plugin-slurm==2.8.0 \
    'xgboost-cpu==3.0.5; sys_platform == "linux"' \
    'xgboost==3.0.5; sys_platform != "linux"'
