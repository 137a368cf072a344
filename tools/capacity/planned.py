"""What `diptych plan-capacity` expects of a scenario."""
import dataclasses
import json
import subprocess

NOT_OF_THE_PLAN = {"vision_replicas", "language_replicas", "batched_tokens", "connection_age"}


def planned(diptych, scenario):
    """Its --json for so many replicas; None where it says that they cannot keep up."""
    flags = [f"--{name}={value}" for name, value in dataclasses.asdict(scenario).items() if name not in NOT_OF_THE_PLAN]
    flags += [f"--vision_replicas={scenario.vision_replicas}", f"--language_replicas={scenario.language_replicas}"]
    done = subprocess.run([diptych, "plan-capacity", "--json", *flags], capture_output=True, text=True, check=False)
    if done.returncode == 1 and "loaded to" in done.stderr:
        return None
    done.check_returncode()
    return json.loads(done.stdout)
