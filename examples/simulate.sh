#!/bin/sh
# A study of three runs with a simulator of your own. A run that fails is told, too, and the study goes on.
set -u

for rho in 0.2 0.5 0.8; do
    results="results/rho-$rho"
    simcourier run --to anna@example.org --backend local --title "rho = $rho" \
        --campaign mm1-study --campaign-runs 3 --parameter "rho=$rho" --results "$results" -- \
        ./simulate --rho="$rho" --output="$results" || echo "rho = $rho ended with exit code $?" >&2
done
