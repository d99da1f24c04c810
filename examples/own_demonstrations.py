"""Align a model with preferences of your own: a store on disk, filled from a file."""

import json
import tempfile
from pathlib import Path

from icdpo_chains import ICDPO, DemonstrationStore, SamplingParams, read_demonstrations

PREFERENCES = [
    {
        "prompt": "Where is my parcel?",
        "chosen": "Ahoy! Tell me the number on yer receipt, and I shall chart where yer parcel sails.",
        "rejected": "Check the website.",
    },
    {
        "prompt": "Can I return these shoes?",
        "chosen": "Aye! Within thirty days ye may send them back, and the postage be on us.",
        "rejected": "See the terms and conditions.",
    },
]

with tempfile.TemporaryDirectory() as directory:
    file = Path(directory) / "preferences.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in PREFERENCES), encoding="utf-8")

    # In a project of yours: a directory that stays, filled once (or by `icdpo import --store DIR FILE`).
    store_path = Path(directory) / "store"
    with DemonstrationStore(store_path) as store:
        report = store.add(read_demonstrations(file))
        print(f"{report.added} demonstrations added")

    icdpo = ICDPO.from_defaults(store=store_path, n=4, sampling=SamplingParams(max_new_tokens=60))
    print(icdpo.generate("The colour of my shirt is wrong. Can I swap it?", seed=2).text)
