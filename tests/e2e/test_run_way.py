"""A simulation that crashes at its start: what the researcher gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.installation import ROOT, Installation, text_of


def test_a_simulation_that_left_no_results_is_told_by_a_mail_with_the_end_of_its_log(
    tmp_path: Path, ledger_template: Path
) -> None:
    with Installation(tmp_path / "data", template=ledger_template) as installation:
        installation.start("worker")
        installation.start("email-sender")
        installation.wait_ready()
        options = ["--to", "anna@example.org", "--backend", "local", "--title", "rho = 0.8"]
        words = [*options, "--results", str(tmp_path / "results"), "--", "sh", "-c", "echo no licence >&2; exit 3"]
        event_id = "6f2f5ac4-4f9b-4a1c-8a59-0f4d31a3f7a1"

        done = subprocess.run(
            [sys.executable, "-m", "simcourier", "run", "--event-id", event_id, *words],
            cwd=ROOT,
            env=installation.environ,
            check=False,
            timeout=120,
        )

        mail = installation.wait_for_mail(event_id)
    assert done.returncode == 3
    assert mail["Subject"] == "Results not delivered: rho = 0.8"
    text = text_of(mail)
    assert f"The results folder {tmp_path}/results does not exist." in text
    assert "The simulation itself failed (exit code 3)." in text
    assert "no licence" in text
