#!/bin/sh
# EpilogSlurmctld of slurm.conf: tells of every job that has left a folder RESULTS/<user>/<job id>.
#
# slurmctld runs it on the head node when a job ends, without a PATH, and sets SLURM_JOB_ID, SLURM_JOB_NAME,
# SLURM_JOB_USER, SLURM_CLUSTER_NAME and SLURM_JOB_EXIT_CODE2 ("exit code:signal"); for job arrays also
# SLURM_ARRAY_JOB_ID and SLURM_ARRAY_TASK_ID. https://slurm.schedmd.com/prolog_epilog.html
export PATH=/opt/simcourier/bin:/usr/bin:/bin
ENV_FILE=/etc/simcourier/simulator.env # the settings, SIMCOURIER_BROKER_URL and SIMCOURIER_DATA_DIR at least
RESULTS=/srv/results
DOMAIN=example.org

folder="$RESULTS/$SLURM_JOB_USER/$SLURM_JOB_ID"
[ -d "$folder" ] || exit 0

code=${SLURM_JOB_EXIT_CODE2%%:*}
signal=${SLURM_JOB_EXIT_CODE2##*:}
if [ "$signal" -ne 0 ]; then
    outcome=aborted code=$((128 + signal))
elif [ "$code" -ne 0 ]; then
    outcome=failed
else
    outcome=succeeded
fi

# A title is one line of at most 200 characters; a job's name may be anything.
title=$(printf %s "$SLURM_JOB_NAME" | tr '[:cntrl:]' ' ' | cut -b 1-200 | iconv -c -f UTF-8 -t UTF-8)

set -- "$folder" --to "$SLURM_JOB_USER@$DOMAIN" --backend local --title "$title" \
    --simulation-id "$SLURM_JOB_ID" --outcome "$outcome" --exit-code "$code" \
    --label "cluster=$SLURM_CLUSTER_NAME" --label "job=$SLURM_JOB_ID"
if [ -n "${SLURM_ARRAY_JOB_ID-}" ]; then
    set -- "$@" --campaign "$SLURM_ARRAY_JOB_ID" --parameter "task=$SLURM_ARRAY_TASK_ID"
fi

# The event is in the spool after a moment, whatever becomes of the rest; the epilog must not keep the job waiting.
timeout 30 simcourier --env-file "$ENV_FILE" publish "$@" || logger -t simcourier "job $SLURM_JOB_ID: exit code $?"
exit 0
