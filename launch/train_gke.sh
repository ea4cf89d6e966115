#!/usr/bin/env bash
# Trains on TPU slices of a Google Kubernetes Engine cluster, as a JobSet.
#
#   launch/train_gke.sh [--flag=value ...]
#
# The flags are those of `python -m clef_jax.train`. Needs kubectl that is connected to the cluster,
# JobSet 0.6 or newer in it, and in the environment:
#   NAME      of the run; its folder is /runs/NAME, so that the same name resumes
#   IMAGE     a container image made from launch/train.Dockerfile
#   TOPOLOGY  of a slice, as in `python -m clef_jax.plan`: v4:2x2x4, v5e:16x16, v5p:4x4x4, v6e:16x16,
#             tpu7x:4x4x4
#   DATA      what is mounted as /data, prepared data: gs://BUCKET, or a persistent volume claim
#   WORK      what is mounted as /runs, likewise. Checkpoints are renamed folders, so a bucket must
#             have a hierarchical namespace; the claim must be ReadWriteMany, for example Filestore
# and, if wished: SLICES (1), SPOT=1, RESTARTS (20), SERVICE_ACCOUNT (default; it reads the buckets),
# CHIPS_PER_HOST (4; 8 where a node pool has machines for 2x4 chips).
# A preempted slice saves, and the JobSet starts again and resumes, as often as need be; RESTARTS
# counts only those after crashes. Running this script again stops what runs under the name, and
# resumes. Watch it with `kubectl get jobset NAME` and `kubectl logs job/NAME-slice-0`.
#
# XPK=1 hands it to `xpk workload create` instead: set CLUSTER, and not DATA and WORK; mount storage
# with `xpk storage` and give --data-dir and --workdir.
# --dry-run prints the commands, and the JobSet, instead of running them.
set -euo pipefail
# shellcheck source=launch/_command.sh
source "$(dirname "$0")/_command.sh"

read_arguments 0 "$@"
need NAME IMAGE TOPOLOGY
slices=${SLICES:-1}
kind=${TOPOLOGY%%:*} shape=${TOPOLOGY#*:}
case "$kind" in  # the node label, the name that xpk has for it, and cores of a chip, which xpk counts
  v4) accelerator=tpu-v4-podslice xpk_kind=v4 cores=2 ;;
  v5e) accelerator=tpu-v5-lite-podslice xpk_kind=v5litepod cores=1 ;;
  v5p) accelerator=tpu-v5p-slice xpk_kind=v5p cores=2 ;;
  v6e) accelerator=tpu-v6e-slice xpk_kind=v6e cores=1 ;;
  tpu7x) accelerator=tpu7x xpk_kind=tpu7x cores=2 ;;
  *) echo "TOPOLOGY=$TOPOLOGY: the kind is one of v4, v5e, v5p, v6e, tpu7x." >&2; exit 2 ;;
esac
if ! [[ $shape =~ ^[0-9]+x[0-9]+(x[0-9]+)?$ ]]; then
  echo "TOPOLOGY=$TOPOLOGY: the shape is chips along each axis, such as v5e:4x4 or v5p:2x2x2." >&2
  exit 2
fi
chips=$((${shape//x/*}))
chips_per_host=${CHIPS_PER_HOST:-$((chips == 1 ? 1 : 4))}
if ((chips % chips_per_host)); then
  echo "TOPOLOGY=$TOPOLOGY: $chips chips are no whole number of hosts with $chips_per_host." >&2
  exit 2
fi
hosts=$((chips / chips_per_host))
if ((hosts == 1 && slices > 1)); then
  echo "SLICES=$slices: GKE joins only slices of several hosts, and $TOPOLOGY is one host." >&2
  exit 2
fi
train=(bash /clef_jax/launch/_stoppable.sh python -m clef_jax.train --coordinator-address=auto)

literal() {  # a string as YAML, in which Kubernetes replaces no $(VARIABLE)
  local quote="'" text=${1//\$(/\$\$(}
  echo "'${text//$quote/$quote$quote}'"
}

volume() {  # mounts $2, a bucket or a claim, under the name $1
  echo "            - name: $1"
  if [[ $2 == gs://* ]]; then
    printf '              %s\n' "csi:" "  driver: gcsfuse.csi.storage.gke.io" "  volumeAttributes:" \
      "    bucketName: $(literal "${2#gs://}")" "    mountOptions: implicit-dirs"
  else
    printf '              %s\n' "persistentVolumeClaim:" "  claimName: $(literal "$2")"
  fi
}

spot() {  # only where spot machines are asked for
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
    # Each slice is a node pool, and each node pool takes one slice of the training.
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
