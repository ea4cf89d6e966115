"""The JobSet says what the settings said, and goes to the cluster."""

import shlex

import pytest
import yaml
from culprits import assert_names
from launch_scripts import CASES, FLAGS, commands, manifest, pod, run, stub, with_stubs

NAME = "train_gke.sh"
SETTINGS = CASES[NAME][0]


def jobset(*flags, **settings) -> dict:
    return manifest(run(NAME, SETTINGS | settings, *flags, "--dry-run"))


def refusal(**settings) -> str:
    done = run(NAME, SETTINGS | settings, "--dry-run")
    assert done.returncode == 2
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("slices", [1, 2])
def test_there_is_a_job_for_each_slice_and_a_pod_for_each_host(slices):
    made = jobset(*FLAGS, SLICES=str(slices))
    assert (made["apiVersion"], made["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert made["metadata"]["name"] == "run"
    annotation = made["metadata"]["annotations"]["alpha.jobset.sigs.k8s.io/exclusive-topology"]
    assert annotation == "cloud.google.com/gke-nodepool"
    (job,) = made["spec"]["replicatedJobs"]
    assert job["replicas"] == slices
    assert job["template"]["spec"]["parallelism"] == 8  # 4 x 8 chips, 4 on a host
    assert job["template"]["spec"]["completions"] == 8
    assert job["template"]["spec"]["completionMode"] == "Indexed"
    (container,) = pod(made)["containers"]
    assert container["image"] == "registry/image:1"
    assert container["command"][-len(FLAGS) :] == list(FLAGS)
    assert "--workdir=/runs/run" in container["command"]


@pytest.mark.parametrize(
    ("topology", "accelerator", "hosts", "chips_per_host"),
    [
        ("v4:2x2x4", "tpu-v4-podslice", 4, 4),
        ("v5e:16x16", "tpu-v5-lite-podslice", 64, 4),
        ("v5e:1x1", "tpu-v5-lite-podslice", 1, 1),
        ("v5p:4x4x4", "tpu-v5p-slice", 16, 4),
        ("v6e:2x4", "tpu-v6e-slice", 2, 4),
        ("tpu7x:2x2x1", "tpu7x", 1, 4),
    ],
)
def test_a_topology_is_asked_for_in_the_words_of_gke(topology, accelerator, hosts, chips_per_host):
    made = jobset(TOPOLOGY=topology)
    assert pod(made)["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": accelerator,
        "cloud.google.com/gke-tpu-topology": topology.partition(":")[2],
    }
    assert made["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"] == hosts
    (container,) = pod(made)["containers"]
    assert container["resources"] == {"limits": {"google.com/tpu": chips_per_host}}


def test_preemptions_restart_without_end_and_crashes_do_not():
    made = jobset(RESTARTS="3")
    policy = made["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 3
    (rule,) = policy["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    job = made["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["backoffLimit"] == 0
    disrupted, stopped = job["podFailurePolicy"]["rules"]
    assert disrupted["onPodConditions"] == [{"type": "DisruptionTarget"}]
    assert stopped["onExitCodes"] == {"operator": "In", "values": [75]}
    assert {disrupted["action"], stopped["action"]} == {"FailJob"}
    assert pod(made)["restartPolicy"] == "Never"  # or Kubernetes allows no such policy
    wrapper = ["bash", "/clef_jax/launch/_stoppable.sh", "python", "-m", "clef_jax.train"]
    assert pod(made)["containers"][0]["command"][:5] == wrapper


def test_data_and_work_are_buckets_or_claims():
    made = jobset(DATA="gs://bucket", WORK="claim")
    data, work = pod(made)["volumes"]
    assert data["csi"]["driver"] == "gcsfuse.csi.storage.gke.io"
    assert data["csi"]["volumeAttributes"]["bucketName"] == "bucket"
    assert work == {"name": "work", "persistentVolumeClaim": {"claimName": "claim"}}
    mounts = {m["name"]: m["mountPath"] for m in pod(made)["containers"][0]["volumeMounts"]}
    assert mounts == {"data": "/data", "work": "/runs"}


def test_buckets_need_an_annotation():
    def annotation(**settings):
        job = jobset(**settings)["spec"]["replicatedJobs"][0]["template"]["spec"]
        return job["template"]["metadata"]["annotations"]["gke-gcsfuse/volumes"]

    assert annotation(DATA="gs://bucket", WORK="claim") == "true"
    assert annotation(DATA="claim", WORK="claim") == "false"


def test_spot_machines_only_when_asked_for():
    assert "tolerations" not in pod(jobset())
    spot = pod(jobset(SPOT="1"))
    assert spot["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert [t["key"] for t in spot["tolerations"]] == ["cloud.google.com/gke-spot"]


def test_arguments_arrive_as_they_were_given():
    odd = ["--a=it's", "--b=- x: {y}", '--c="quoted" # no comment', r"--d=back\slash"]
    assert pod(jobset(*odd))["containers"][0]["command"][-4:] == odd
    # Kubernetes takes $$ for a dollar, and would take $(HOME) for a variable.
    assert pod(jobset("--e=$(HOME)"))["containers"][0]["command"][-1] == "--e=$$(HOME)"


def test_what_gke_does_not_have_is_told():
    assert_names(refusal(TOPOLOGY="v3:4x4"), "v4, v5e, v5p, v6e", "tpu7x")
    assert_names(refusal(TOPOLOGY="v5e:256"), "v5e:4x4")
    assert_names(refusal(TOPOLOGY="v5e:2x1"), "TOPOLOGY=v5e:2x1", "hosts")
    assert_names(refusal(TOPOLOGY="v5e:2x2", SLICES="2"), "SLICES=2", "hosts")


def test_a_former_run_of_the_name_is_cleared_before_the_new_one_is_applied(tmp_path):
    stub(tmp_path, "kubectl", 'echo "# $*"', 'if [ "$1" = apply ]; then cat; fi')
    done = run(NAME, with_stubs(tmp_path) | SETTINGS, *FLAGS)
    clear, apply, *lines = done.stdout.splitlines()
    assert clear == "# delete jobset run --ignore-not-found --cascade=foreground"
    assert apply == "# apply --filename=-"
    assert yaml.safe_load("\n".join(lines)) == jobset(*FLAGS)


@pytest.mark.parametrize(
    ("topology", "tpu_type"),
    [("v5e:4x8", "v5litepod-32"), ("v5p:4x4x4", "v5p-128"), ("v6e:16x16", "v6e-256")],
)
def test_xpk_is_told_the_same(topology, tpu_type):
    settings = SETTINGS | {"TOPOLOGY": topology, "SLICES": "2", "XPK": "1", "CLUSTER": "c"}
    (command,) = commands(run(NAME, settings, *FLAGS, "--dry-run"))
    assert command[:3] == ["xpk", "workload", "create"]
    told = {name: value for name, _, value in (word.partition("=") for word in command[3:])}
    assert (told["--cluster"], told["--workload"]) == ("c", "run")
    assert (told["--tpu-type"], told["--num-slices"]) == (tpu_type, "2")
    assert told["--docker-image"] == "registry/image:1"
    assert shlex.split(told["--command"])[-len(FLAGS) :] == list(FLAGS)
