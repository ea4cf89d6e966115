#!/usr/bin/env bash
# Trains on TPU slices of a Google Kubernetes Engine cluster, as a JobSet.
#
#   launch/train_gke.sh [--flag=value ...]
#
# The flags are those of `python -m clef_jax.train`. Requires kubectl connected to the cluster,
# JobSet 0.6 or newer in the cluster, and environment variables:
#   NAME      name of the run; its folder is /runs/NAME, so that the same name resumes
#   IMAGE     a container image built from launch/train.Dockerfile
#   TOPOLOGY  type and shape of a slice, as for `python -m clef_jax.plan`: v4:2x2x4, v5e:16x16,
#             v5p:4x4x4, v6e:16x16, tpu7x:4x4x4
#   DATA      gs://BUCKET or persistent volume claim with prepared data, mounted as /data
#   WORK      gs://BUCKET or persistent volume claim for runs, mounted as /runs. Saving renames
#             folders, so a bucket must have a hierarchical namespace; a claim must be
#             ReadWriteMany, for example Filestore
# Optional variables: SLICES (1), SPOT=1, RESTARTS (20), SERVICE_ACCOUNT (default; it reads the
# buckets), CHIPS_PER_HOST (4; 8 for a node pool whose machines have 2x4 chips).
# When a slice is preempted, it saves, and the JobSet restarts and resumes without a limit; RESTARTS
# limits restarts after crashes. Running this script again stops the run of that name and resumes
# it. Monitor it with `kubectl get jobset NAME` and `kubectl logs job/NAME-slice-0`.
#
# XPK=1 uses `xpk workload create` instead: set CLUSTER but not DATA and WORK, mount storage with
# `xpk storage`, and set --data-dir and --workdir.
# --dry-run prints the commands, and the JobSet, instead of running them.
set -euo pipefail
# shellcheck source=launch/_command.sh
source "$(dirname "$0")/_command.sh"

read_arguments 0 "$@"
need NAME IMAGE TOPOLOGY
slices=${SLICES:-1}
kind=${TOPOLOGY%%:*} shape=${TOPOLOGY#*:}
case "$kind" in  # the node label, the name in xpk, and cores per chip, which xpk counts
  v4) accelerator=tpu-v4-podslice xpk_kind=v4 cores=2 ;;
  v5e) accelerator=tpu-v5-lite-podslice xpk_kind=v5litepod cores=1 ;;
  v5p) accelerator=tpu-v5p-slice xpk_kind=v5p cores=2 ;;
  v6e) accelerator=tpu-v6e-slice xpk_kind=v6e cores=1 ;;
  tpu7x) accelerator=tpu7x xpk_kind=tpu7x cores=2 ;;
  *) echo "TOPOLOGY=$TOPOLOGY: the type must be v4, v5e, v5p, v6e or tpu7x." >&2; exit 2 ;;
esac
if ! [[ $shape =~ ^[0-9]+x[0-9]+(x[0-9]+)?$ ]]; then
  echo "TOPOLOGY=$TOPOLOGY: the shape must be chips per axis, such as v5e:4x4 or v5p:2x2x2." >&2
  exit 2
fi
chips=$((${shape//x/*}))
chips_per_host=${CHIPS_PER_HOST:-$((chips == 1 ? 1 : 4))}
if ((chips % chips_per_host)); then
  echo "TOPOLOGY=$TOPOLOGY: $chips chips cannot be divided into hosts with $chips_per_host." >&2
  exit 2
fi
hosts=$((chips / chips_per_host))
if ((hosts == 1 && slices > 1)); then
  echo "SLICES=$slices: GKE joins only slices of several hosts, but $TOPOLOGY is one host." >&2
  exit 2
fi
train=(bash /clef_jax/launch/_stoppable.sh python -m clef_jax.train --coordinator-address=auto)

literal() {  # prints a YAML string in which Kubernetes replaces no $(VARIABLE)
  local quote="'" text=${1//\$(/\$\$(}
  echo "'${text//$quote/$quote$quote}'"
}

volume() {  # prints the volume $1 of $2, a bucket or a claim
  echo "            - name: $1"
  if [[ $2 == gs://* ]]; then
    printf '              %s\n' "csi:" "  driver: gcsfuse.csi.storage.gke.io" "  volumeAttributes:" \
      "    bucketName: $(literal "${2#gs://}")" "    mountOptions: implicit-dirs"
  else
    printf '              %s\n' "persistentVolumeClaim:" "  claimName: $(literal "$2")"
  fi
}

spot() {  # prints its arguments if spot machines are requested
  if [ -n "${SPOT:-}" ]; then printf '            %s\n' "$@"; fi
}

jobset() {
  local argument
  cat <<EOF
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $NAME
  annotations:
    # Each slice is a node pool, and each node pool runs one slice of the training.
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
spec:
  failurePolicy:
    maxRestarts: ${RESTARTS:-20}
    rules:
    - action: RestartJobSetAndIgnoreMaxRestarts
      onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
  - name: slice
    replicas: $slices
    template:
      spec:
        parallelism: $hosts
        completions: $hosts
        completionMode: Indexed
        backoffLimit: 0
        podFailurePolicy:
          rules:
          - action: FailJob
            onPodConditions: [{type: DisruptionTarget}]
          - action: FailJob
            onExitCodes: {operator: In, values: [75]}  # saved because it was asked to stop
        template:
          metadata:
            annotations:
              gke-gcsfuse/volumes: "$([[ $DATA$WORK == *gs://* ]] && echo true || echo false)"
          spec:
            restartPolicy: Never
            terminationGracePeriodSeconds: 120
            serviceAccountName: ${SERVICE_ACCOUNT:-default}
            nodeSelector:
              cloud.google.com/gke-tpu-accelerator: $accelerator
              cloud.google.com/gke-tpu-topology: $shape
$(spot '  cloud.google.com/gke-spot: "true"' tolerations: \
    "- {key: cloud.google.com/gke-spot, operator: Exists, effect: NoSchedule}")
            containers:
            - name: train
              image: $IMAGE
              ports: [{containerPort: 8471}, {containerPort: 8431}]
              resources:
                limits: {google.com/tpu: $chips_per_host}
              volumeMounts:
              - {name: data, mountPath: /data, readOnly: true}
              - {name: work, mountPath: /runs}
              command:
$(for argument in "${train[@]}" "$@"; do echo "              - $(literal "$argument")"; done)
            volumes:
$(volume data "$DATA")
$(volume work "$WORK")
EOF
}

if [ -n "${XPK:-}" ]; then
  need CLUSTER
  run xpk workload create "--cluster=$CLUSTER" "--workload=$NAME" "--docker-image=$IMAGE" \
    "--tpu-type=$xpk_kind-$((chips * cores))" "--num-slices=$slices" \
    "--max-restarts=${RESTARTS:-20}" --restart-on-user-code-failure \
    --termination-grace-period-seconds=120 "--command=$(quoted "${train[@]}" "${arguments[@]}")"
  exit
fi
need DATA WORK
flags=(--data-dir=/data "--workdir=/runs/$NAME" --compilation-cache-dir=/runs/xla_cache)
manifest=$(jobset "${flags[@]}" "${arguments[@]}" | grep -v '^$')
clear=(kubectl delete jobset "$NAME" --ignore-not-found --cascade=foreground)
if $dry_run; then
  printf '# %s\n' "$(quoted "${clear[@]}")" "$(quoted kubectl apply --filename=-)"
  echo "$manifest"
else
  "${clear[@]}"
  kubectl apply --filename=- <<<"$manifest"
fi
