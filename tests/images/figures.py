# SPDX-License-Identifier: LGPL-2.1-or-later
"""The eight figures of a check and its exit status: as qemu-img says them, and as qcauditctl does."""
import json
import os
import resource
import subprocess

FIGURES = ("corruptions", "leaks", "check-errors", "image-end-offset", "total-clusters",
           "allocated-clusters", "compressed-clusters", "fragmented-clusters")


def _limits():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # qemu-img follows a chain that loops until it has no file descriptor left.
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


def _run(command, directory, timeout):
    try:
        done = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=timeout, preexec_fn=_limits)
    except subprocess.TimeoutExpired:
        return -1, "", f"no answer within {timeout} s"
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def _result(status, output, errors):
    try:
        report = json.loads(output)
        if isinstance(report, list):
            report = report[0]
    except (ValueError, IndexError):
        report = {}
    opened = "check-errors" in report and report.get("opened", True)
    figures = tuple(int(report.get(name, 0) or 0) for name in FIGURES) if opened else None
    return {"status": status, "figures": figures, "text": (report.get("error") or errors).strip(), "report": report}


def of_qemu(path, secret=None):
    """What `qemu-img check` says. figures is None when it did not open the image."""
    command = ["qemu-img", "check", "--output=json"]
    name = os.path.basename(path)
    if secret:
        command += ["--object", f"secret,id=s,data={secret}", "--image-opts",
                    f"driver=qcow2,file.filename={name},encrypt.key-secret=s"]
    else:
        command.append(name)
    return _result(*_run(command, os.path.dirname(path), 60))


def of_qcaudit(path):
    """What `qcauditctl check` says, in the same shape."""
    command = os.environ.get("QCAUDIT_CHECK", "qcauditctl check --compatible --json=short").split()
    return _result(*_run(command + [os.path.basename(path)], os.path.dirname(path), 60))


def equal(expected, actual):
    """Where qemu-img gave up, it says no figures; qcaudit may have counted some, and must give up, too."""
    return expected["status"] == actual["status"] and expected["figures"] in (None, actual["figures"])


def row(figures):
    return " ".join(f"{value:>9}" for value in figures) if figures else f"{'not opened':>79}"
