"""Rank answers that came from anywhere (another model, an API, people) with the instant scorer."""

from icdpo_chains import ICDPO

icdpo = ICDPO.from_defaults()
answers = [
    "Just ignore her, she will get over it.",
    "I am sorry that you two had a fight. You could call her, say what hurt you, and ask how she felt.",
    "Fights happen. Whatever.",
]
for candidate in icdpo.score("I had a fight with my sister. What now?", answers).candidates:
    print(f"{candidate.score:+.3f}  {candidate.text}")
