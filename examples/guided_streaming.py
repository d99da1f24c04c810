"""Stream one guided answer: the demonstrations choose each token, and the score comes with the last chunk."""

from icdpo_chains import ICDPO, SamplingParams

icdpo = ICDPO.from_defaults()
sampling = SamplingParams(decoding="guided", temperature=0, max_new_tokens=60)

for chunk in icdpo.stream("I had a fight with my sister. What now?", n=1, sampling=sampling):
    print(chunk.text, end="", flush=True)
    if chunk.result is not None:
        print(f"\nscore: {chunk.result.best.score:.3f} nats per token")
