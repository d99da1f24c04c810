"""`icdpo` on a fake policy that prints wherever it can; the arguments are its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from icdpo_chains import ICDPO, Demonstration, DemonstrationStore, FakeEmbedder, FakePolicy
from icdpo_chains.cli import loading
from icdpo_chains.cli.app import app

KIND, RUDE = "I am sorry. Shall we talk?", "Whatever. Your own fault."
DEMONSTRATIONS = [
    Demonstration("I failed my exam.", "I am sorry to hear that. Shall we talk?", "Your own fault."),
    Demonstration("My cat is ill.", "I am sorry. Shall we talk about her?", "Whatever, deal with it."),
]


class NoisyPolicy(FakePolicy):
    def sample(self, *arguments: Any) -> Any:
        print("a library prints")
        os.write(1, b"so does one in C\n")
        subprocess.run([sys.executable, "-c", "print('and a process')"], check=True)
        return super().sample(*arguments)


def build_icdpo(status: Any, config: Any) -> ICDPO:
    print("loading")
    place = Path(config.store)
    if not place.exists():
        with DemonstrationStore(place, embedder=FakeEmbedder()) as store:
            store.add(DEMONSTRATIONS)
    store = DemonstrationStore(place, embedder=FakeEmbedder(), read_only=True)
    return ICDPO.from_config(config, policy=NoisyPolicy([RUDE, KIND]), store=store)


if __name__ == "__main__":
    loading.build_icdpo = build_icdpo
    app()
