"""Answer a question by ICDPO: the best of eight candidates, and why it is the best."""

from icdpo_chains import ICDPO

icdpo = ICDPO.from_defaults(n=8)  # the default model and the starter demonstrations
result = icdpo.generate("My neighbour is too loud at night. How do I tell him?", seed=1)

print(result.text)
print()
for candidate in result.candidates:
    print(f"{candidate.score:+.3f} a token  {candidate.num_tokens:4d} tokens  {candidate.text[:60]!r}")
print("demonstrations:", [found.demonstration.metadata["topic"] for found in result.demonstrations])
