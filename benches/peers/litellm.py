#!/usr/bin/env python3
"""LiteLLM beside our client: installs it into a venv of its own, runs its proxy, or asks with its library.

  litellm.py setup                        makes .tools/litellm; a second run changes nothing
  litellm.py proxy BASE PORT              its proxy on PORT, in front of the emulator at BASE
  litellm.py library BASE REQUESTS        asks so often in this process; prints {"cpu_seconds", "resident", "answers"}

The last two run in the venv's Python. Nothing is asked outside this machine: prices come from the package itself.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

VERSION = "1.108.7"
HOME = Path(__file__).resolve().parents[2] / ".tools" / "litellm"
KEY = "sk-test-0123456789"
WARM_UP = 20


def setup():
    marker = HOME / "installed.txt"
    if marker.exists() and marker.read_text() == VERSION:
        print(f"ok       litellm {VERSION} in {HOME}")
        return
    venv.create(HOME, with_pip=True)
    pip = [HOME / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, f"litellm[proxy]=={VERSION}"], check=True)
    marker.write_text(VERSION)
    print(f"install  litellm {VERSION} in {HOME}")


def quiet():
    os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR", LITELLM_TELEMETRY="False")


def proxy(base, port):
    quiet()
    model = {"model": "openai/played-1", "api_base": f"{base}/openai/v1", "api_key": KEY}
    config = {
        "model_list": [{"model_name": "played-1", "litellm_params": model}],
        "litellm_settings": {"telemetry": False, "num_retries": 0},
        # Lets it off checking keys, which our side does not do either.
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    # JSON is YAML.
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        json.dump(config, file)
    program = HOME / "bin" / "litellm"
    os.execv(program, [program, "--config", file.name, "--host", "127.0.0.1", "--port", port, "--num_workers", "1"])


def library(base, requests):
    quiet()
    import resource

    # This file has the package's name, and its folder comes first.
    sys.path.pop(0)
    import litellm

    question = json.load(sys.stdin)

    def ask():
        reply = litellm.completion(
            model="openai/played-1",
            api_base=f"{base}/openai/v1",
            api_key=KEY,
            max_tokens=4096,
            messages=[
                {"role": "system", "content": question["system"]},
                {"role": "user", "content": question["user"]},
            ],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": question["schema"], "strict": True},
            },
        )
        return json.loads(reply.choices[0].message.content)["nonce"] == question["nonce"]

    for _ in range(WARM_UP):
        ask()
    before = resource.getrusage(resource.RUSAGE_SELF)
    answers = sum(ask() for _ in range(int(requests)))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    print(json.dumps({"cpu_seconds": cpu, "resident": int(resident.split()[1]) * 1024, "answers": answers}))


COMMANDS = {"setup": setup, "proxy": proxy, "library": library}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
